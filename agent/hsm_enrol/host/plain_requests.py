"""Knows how to load requests without what guesses a text's encoding: nothing here is ever guessed, only bytes are read.

requests works without it and warns; it costs a tenth of requests' own start. An entry that is None in `sys.modules`
is how Python says that a module is absent; afterwards it can be imported again.
"""

from __future__ import annotations

import sys
import warnings
from types import ModuleType
from typing import cast

_GUESSERS = ("chardet", "charset_normalizer")

_absent = [name for name in _GUESSERS if name not in sys.modules]
sys.modules.update(dict.fromkeys(_absent, cast("ModuleType", None)))
try:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Unable to find acceptable character detection")
        import requests
finally:
    for _name in _absent:
        del sys.modules[_name]

__all__ = ["requests"]
