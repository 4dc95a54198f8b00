"""Knows how to load requests without two things that nobody here wants, which are a seventh of its own start.

What guesses a text's encoding: nothing here is ever guessed, only bytes are read. requests works without it and warns.
What urllib3 needs to speak HTTP/2, which is offered to nobody: its package begins by reading which version of another
library is installed, and with it comes half of importlib. The package's modules are found without that beginning.
So requests and urllib3 are imported here first, and by everybody from here.

An entry that is None in `sys.modules` is how Python says that a module is absent; each can be imported afterwards.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from types import ModuleType
from typing import cast

_GUESSERS = ("chardet", "charset_normalizer")
_HTTP2 = "urllib3.http2"


def _without_its_beginning(name: str) -> dict[str, ModuleType]:
    """Give a package that was not run, so that its modules are found; nothing when it is there already, or nowhere."""
    above = importlib.util.find_spec(name.partition(".")[0])
    if name in sys.modules or above is None or not above.submodule_search_locations:
        return {}
    package = ModuleType(name)
    package.__path__ = [os.path.join(place, "http2") for place in above.submodule_search_locations]
    return {name: package}


_absent = {name: cast("ModuleType", None) for name in _GUESSERS if name not in sys.modules}
_plain = _without_its_beginning(_HTTP2)
sys.modules.update(_absent | _plain)
try:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Unable to find acceptable character detection")
        import requests
        import urllib3
        import urllib3.connection
        import urllib3.connectionpool
        import urllib3.exceptions
finally:
    for _name in (*_absent, *_plain):
        del sys.modules[_name]

__all__ = ["requests", "urllib3"]
