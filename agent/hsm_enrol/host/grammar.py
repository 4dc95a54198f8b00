"""Knows what the values of instance metadata look like; whole-string ASCII matches only (E7).

Loose where AWS may grow (types, zones, lifecycle states), strict in the alphabet: none of them lets a space, a line
break, a slash or a sign of another language through.
"""

from __future__ import annotations

import re
from typing import Final

from hsm_enrol.wire import assertion as claims
from hsm_enrol.wire import sts


def _grammar(text: str) -> re.Pattern[str]:
    return re.compile(text, re.ASCII)


# What goes into the assertion has the protocol's own grammar, so that nothing is sent which a verifier calls malformed.
INSTANCE_ID: Final = _grammar(claims.INSTANCE_ID)
TYPE: Final = _grammar(claims.INSTANCE_TYPE)
RESERVATION: Final = _grammar(claims.RESERVATION_ID)
IMAGE: Final = _grammar(claims.IMAGE_ID)
ACCOUNT: Final = _grammar(claims.ACCOUNT_ID)
REGION: Final = _grammar(claims.REGION)
HOST_NAME: Final = _grammar(claims.HOST_NAME)
IPV4: Final = _grammar(claims.IPV4)
ROLE_NAME: Final = _grammar(claims.ROLE)
ACCESS_KEY_ID: Final = _grammar(claims.ACCESS_KEY_ID)
SECURITY_TOKEN: Final = _grammar(claims.SECURITY_TOKEN)
CMS: Final = _grammar(claims.CMS_TEXT)

# What stays on this machine.
PARTITION: Final = _grammar(r"aws(-[a-z]{1,16}){0,3}")
DOMAIN: Final = sts.HOST
LIFECYCLE: Final = _grammar(r"[A-Z][A-Za-z]{1,31}(:[A-Z][A-Za-z]{1,31}){0,2}")  # InService, Warmed:Stopped, ...
PROFILE: Final = _grammar(r"arn:[a-z-]{3,64}:iam::[0-9]{12}:instance-profile/[\x21-\x7e]{1,640}")
SECRET: Final = _grammar(r"[A-Za-z0-9+/=]{16,256}")
DATE: Final = _grammar(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
