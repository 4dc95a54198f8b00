"""Knows the switches of a played metadata service: what is to go wrong, for good or so many times."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Faults:
    """Switches that can be turned while the server runs. An item is named as below /latest/, the token is `token`."""

    off: bool = False  # 403 to everything: HttpEndpoint disabled
    token_timeout: bool = False  # the PUT's reply is dropped, as beyond the hop limit
    silent: bool = False  # connections are taken and nothing is ever said
    resets: int = 0  # so many requests, whichever, end in a connection reset
    throttle: dict[str, int] = field(default_factory=dict)  # item, or `*` for any -> how many times 503
    retry_after: str | None = None  # header beside a 503; the real service sends none
    status: dict[str, int] = field(default_factory=dict)  # item -> status for good
    token_uses: int | None = None  # a token is good for so many GETs
    values: dict[str, bytes] = field(default_factory=dict)  # item -> another body
    odd: dict[str, str] = field(default_factory=dict)  # item -> a name out of lab.imds_troubles
    missing: set[str] = field(default_factory=set)  # items that answer 404
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def spend(self, item: str) -> str | None:
        """Give the passing trouble that a request meets, `reset` or `throttle`, and count that down."""
        with self._lock:
            if self.resets > 0:
                self.resets -= 1
                return "reset"
            for name in (item, "*"):
                if self.throttle.get(name, 0) > 0:
                    self.throttle[name] -= 1
                    return "throttle"
        return None
