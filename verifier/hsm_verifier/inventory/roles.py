"""Knows which role an instance profile carries, asked in two ways, since a policy may allow only one of them.

GetInstanceProfile names the role of the profile that EC2 shows: AWS's own word, whatever was claimed. Where that is not
permitted, ListInstanceProfilesForRole tells whether the claimed role is in that profile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from hsm_verifier.inventory.batches import Batches, Bell
from hsm_verifier.inventory.clients import Clients, Place
from hsm_verifier.inventory.words import DENIED, code_of

KEEP_SECONDS = 60.0  # instance profiles change rarely, and IAM is one global endpoint with small limits
Call = Callable[[Place, Callable[[], Any]], Any]
Answer = tuple[bool, frozenset[str]]
"""Whether it may be asked at all; and roles of a profile, or profiles of a role."""


class Roles:
    """Roles by instance profile, for all places."""

    def __init__(
        self,
        clients: Clients,
        call: Call,
        wait: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        bell: Callable[[], Bell] = threading.Event,
    ) -> None:
        """`call` runs one AWS call within the place's limits; `wait` is how long an asker is patient, in seconds."""
        self._clients = clients
        self._call = call
        self._wait = wait
        self._clock, self._bell = clock, bell
        self._lock = threading.Lock()
        self._by_profile: dict[Place, Batches[str, Answer]] = {}
        self._by_role: dict[Place, Batches[str, Answer]] = {}

    def role_of(self, place: Place, profile_arn: str, claimed: str | None) -> str | None:
        """Give the profile's role, None when AWS names none. Raises what boto3 raises; denied only if both ways are."""
        allowed, roles = self._ask(self._by_profile, place, profile_arn, self._get_profile)
        if allowed:
            return next(iter(roles), None)
        if claimed is None:
            return None
        _, profiles = self._ask(self._by_role, place, claimed, self._list_profiles)
        return claimed if profile_arn in profiles else None

    def _ask(
        self,
        batches: dict[Place, Batches[str, Answer]],
        place: Place,
        key: str,
        fetch: Callable[[Place, str], Answer | None],
    ) -> Answer:
        def fetch_all(keys: list[str]) -> dict[str, Answer]:
            found = {one: self._call(place, lambda one=one: fetch(place, one)) for one in keys}  # type: ignore[misc]  # a default that binds
            return {one: answer for one, answer in found.items() if answer is not None}

        with self._lock:
            mine = batches.setdefault(place, Batches(fetch_all, keep=KEEP_SECONDS, clock=self._clock, bell=self._bell))
        return mine.get(key, self._wait) or (True, frozenset())

    def _get_profile(self, place: Place, arn: str) -> Answer | None:
        try:
            found = self._clients.get("iam", place).get_instance_profile(InstanceProfileName=arn.rpartition("/")[2])
        except ClientError as error:
            if code_of(error) in DENIED:
                return False, frozenset()
            if code_of(error) == "NoSuchEntity":
                return None
            raise
        profile = found["InstanceProfile"]
        if profile["Arn"] != arn:  # the same name in another account
            return None
        return True, frozenset(role["RoleName"] for role in profile["Roles"])

    def _list_profiles(self, place: Place, role: str) -> Answer | None:
        try:
            pages = self._clients.get("iam", place).get_paginator("list_instance_profiles_for_role")
            return True, frozenset(
                one["Arn"] for page in pages.paginate(RoleName=role) for one in page["InstanceProfiles"]
            )
        except ClientError as error:
            if code_of(error) == "NoSuchEntity":
                return None
            raise
