"""Knows what the values of instance metadata look like; whole-string ASCII matches only (E7).

Loose where AWS may grow (types, zones, lifecycle states), strict in the alphabet: none of them lets a space, a line
break, a slash or a sign of another language through.
"""

from __future__ import annotations

import re
from typing import Final


def _grammar(text: str) -> re.Pattern[str]:
    return re.compile(text, re.ASCII)


_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
INSTANCE_ID: Final = _grammar(r"i-([0-9a-f]{8}|[0-9a-f]{17})")
TYPE: Final = _grammar(r"[a-z0-9][a-z0-9-]{0,31}\.[a-z0-9-]{1,31}")
RESERVATION: Final = _grammar(r"r-([0-9a-f]{8}|[0-9a-f]{17})")
IMAGE: Final = _grammar(r"ami-([0-9a-f]{8}|[0-9a-f]{17})")
HOST_NAME: Final = _grammar(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*")
IPV4: Final = _grammar(r"((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(\.(?!\Z)|\Z)){4}")
MAC: Final = _grammar(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
ZONE: Final = _grammar(r"[a-z0-9]{1,32}(-[a-z0-9]{1,32}){1,9}")  # also eu-central-1-ham-1a, us-east-1-wl1-bos-wlz-1
PARTITION: Final = _grammar(r"aws(-[a-z]{1,16}){0,3}")
LIFECYCLE: Final = _grammar(r"[A-Z][A-Za-z]{1,31}(:[A-Z][A-Za-z]{1,31}){0,2}")  # InService, Warmed:Stopped, ...
ROLE_NAME: Final = _grammar(r"[A-Za-z0-9_+=,.@-]{1,64}")  # IAM guide, "IAM and AWS STS quotas"
PROFILE: Final = _grammar(r"arn:[a-z-]{3,64}:iam::[0-9]{12}:instance-profile/[\x21-\x7e]{1,640}")
ACCOUNT: Final = _grammar(r"[0-9]{12}")
SECRET: Final = _grammar(r"[A-Za-z0-9+/=]{16,256}")
DATE: Final = _grammar(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
BASE64: Final = _grammar(r"[A-Za-z0-9+/]{1,12288}={0,2}")
