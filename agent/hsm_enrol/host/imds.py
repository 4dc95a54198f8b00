"""Knows what this instance is called, and how it proves that: claims, AWS's signed document, live credentials.

Every value is checked against its grammar before anybody uses it: what answers at the link-local address may be a
proxy, a stand-in or another machine's service. Where the machine's own firmware names the instance (DMI, on
Nitro), IMDS must say the same.
"""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from hsm_enrol.errors import WrongInstance
from hsm_enrol.host import grammar
from hsm_enrol.host.items import Items
from hsm_enrol.host.metadata import PATIENCE
from hsm_enrol.shapes import dataclass
from hsm_enrol.wire.assertion import Instance

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from hsm_enrol.host.retry import Deadline

LINK_LOCAL: Final = ("http://169.254.169.254", "http://[fd00:ec2::254]")  # the second on Nitro, where it is switched on
DMI: Final = "/sys/devices/virtual/dmi/id/board_asset_tag"

DOCUMENT: Final = "dynamic/instance-identity/document"
CREDENTIALS: Final = "meta-data/identity-credentials/ec2/security-credentials/ec2-instance"
_ROLE = "meta-data/iam/security-credentials/"
_INFO = "meta-data/iam/info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The instance identity role's temporary credentials; they open nothing, but they are this instance's name."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expiration: str  # YYYY-MM-DDThh:mm:ssZ

    @property
    def expires(self) -> int:
        """Unix seconds after which AWS does not take them."""
        return int(datetime.fromisoformat(self.expiration).timestamp())


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What the assertion and its evidence are made of."""

    instance_id: str
    instance: Instance
    domain: str
    partition: str
    document: bytes
    rsa2048: str  # the PKCS#7 as base64 without line breaks, document inside
    credentials: Credentials = field(repr=False)


class Imds:
    """This machine's metadata service."""

    def __init__(
        self,
        endpoint: str,
        *,
        deadline: Deadline,
        rng: random.Random,
        sleep: Callable[[float], None],
        dmi: Path | None = None,
        on_wait: Callable[[str, float], None] | None = None,
        on_exchange: Callable[[str], None] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        """Open nothing yet.

        `endpoint` "" means the link-local addresses, IPv4 first; `dmi` is where DMI's tag is (below --root), None for
        no comparison; `patience` the seconds for one exchange. `on_exchange` hears one line for each, without values.
        """
        endpoints = (endpoint.rstrip("/"),) if endpoint else LINK_LOCAL
        self._items = Items(
            endpoints,
            deadline=deadline,
            rng=rng,
            sleep=sleep,
            on_wait=on_wait,
            on_exchange=on_exchange,
            patience=patience,
        )
        self._dmi = dmi
        self._instance_id = ""  # once it is known: an instance keeps its id for as long as we can run

    def close(self) -> None:
        """Give the connection back and forget the token."""
        self._items.close()

    def fetch_instance_id(self) -> str:
        """Read who this is, once, and hold it against DMI. Raises the Imds* errors and WrongInstance."""
        if not self._instance_id:
            instance_id = self._items.text("meta-data/instance-id", grammar.INSTANCE_ID)
            self._compare_with_dmi(instance_id)
            self._instance_id = instance_id
        return self._instance_id

    def fetch_identity(self) -> Identity:
        """Read it all, fifteen items. Raises the Imds* errors and WrongInstance; nothing it raises holds what was read.

        All but the id is read anew each time, with the whole deadline: the next reading may come after long minutes of
        waiting for a verifier.
        """
        self._items.begin()
        instance_id = self.fetch_instance_id()
        document, account_id, region = self._fetch_document(instance_id)
        partition = self._items.text("meta-data/services/partition", grammar.PARTITION)
        # A DHCP option set with several domains makes several names of it, spaces between; the first is the host's.
        local_hostname = self._items.text("meta-data/local-hostname", grammar.HOST_NAME, first_word=True)
        return Identity(
            instance_id=instance_id,
            instance=Instance(
                instance_type=self._items.text("meta-data/instance-type", grammar.TYPE),
                reservation_id=self._items.text("meta-data/reservation-id", grammar.RESERVATION),
                local_hostname=local_hostname,
                public_hostname=self._items.optional("meta-data/public-hostname", grammar.HOST_NAME),
                account_id=account_id,
                region=region,
                image_id=self._items.text("meta-data/ami-id", grammar.IMAGE),
                local_ipv4=self._items.optional("meta-data/local-ipv4", grammar.IPV4),
                role=self._fetch_role(account_id, partition),
            ),
            domain=self._items.text("meta-data/services/domain", grammar.DOMAIN),
            partition=partition,
            document=document,
            rsa2048=self._items.base64_text("dynamic/instance-identity/rsa2048", grammar.CMS),
            credentials=self.fetch_credentials(),
        )

    def fetch_lifecycle(self) -> str | None:
        """Read Auto Scaling's target state, None outside a group. Raises the Imds* errors."""
        return self._items.optional("meta-data/autoscaling/target-lifecycle-state", grammar.LIFECYCLE)

    def fetch_credentials(self) -> Credentials:
        """Read the instance identity role's credentials, anew each time: AWS rotates them."""
        values = self._items.json_object(CREDENTIALS)
        if values.get("Code") != "Success":
            raise self._items.odd(CREDENTIALS, "Code is not Success")
        found = Credentials(
            access_key_id=self._items.member(CREDENTIALS, values, "AccessKeyId", grammar.ACCESS_KEY_ID),
            secret_access_key=self._items.member(CREDENTIALS, values, "SecretAccessKey", grammar.SECRET),
            session_token=self._items.member(CREDENTIALS, values, "Token", grammar.SECURITY_TOKEN),
            expiration=self._items.member(CREDENTIALS, values, "Expiration", grammar.DATE),
        )
        try:
            _ = found.expires
        except ValueError:
            raise self._items.odd(CREDENTIALS, "Expiration is no date") from None
        return found

    def _compare_with_dmi(self, instance_id: str) -> None:
        """Refuse another machine's service. Xen has no such tag, containers may not see it: then there is no check."""
        if self._dmi is None:
            return
        try:
            with self._dmi.open("rb") as tag:
                text = tag.read(256).decode("ascii", "replace").strip()
        except OSError:
            return
        if grammar.INSTANCE_ID.fullmatch(text) and text != instance_id:
            raise WrongInstance(imds=instance_id, dmi=text)

    def _fetch_document(self, instance_id: str) -> tuple[bytes, str, str]:
        """Give the identity document's bytes, and the account and region it names."""
        document = self._items.required(DOCUMENT)
        values = self._items.json_object(DOCUMENT, document)
        if self._items.member(DOCUMENT, values, "instanceId", grammar.INSTANCE_ID) != instance_id:
            raise self._items.odd(DOCUMENT, "another instance's")
        account_id = self._items.member(DOCUMENT, values, "accountId", grammar.ACCOUNT)
        region = self._items.member(DOCUMENT, values, "region", grammar.REGION)
        if self._items.text("meta-data/placement/region", grammar.REGION) != region:
            raise self._items.odd("meta-data/placement/region", "not the document's region")
        return document, account_id, region

    def _fetch_role(self, account_id: str, partition: str) -> str | None:
        """Give the role's name, None without one.

        iam/info names the profile and the other folder the role inside; their names differ in general, but the profile
        must be of this account. A profile whose role was taken out has no credentials: no role.
        """
        name = self._items.optional(_ROLE, grammar.ROLE_NAME)
        info = self._items.fetch(_INFO)
        if name is None:
            return None
        if info is None:
            raise self._items.odd(_INFO, "absent beside a role")
        arn = self._items.member(_INFO, self._items.json_object(_INFO, info), "InstanceProfileArn", grammar.PROFILE)
        if arn.split(":")[1:5] != [partition, "iam", "", account_id]:
            raise self._items.odd(_INFO, "another account's profile")
        return name
