"""Knows how to play the parts of AWS that vouch for an instance: STS, EC2, IAM and the identity-document signer."""

from __future__ import annotations

import base64
import secrets
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from hsm_enrol.wire.sts import partition
from lab import pki
from lab.aws_ec2 import Api, Record
from lab.aws_sts import Minted, Sts
from lab.machine import Machine, RoleCredentials, document_of


class Aws:
    """One region of one account. `launch` makes instances; `sts`, `api` have fault switches and counters."""

    def __init__(self, folder: Path, *, region: str = "eu-central-1", account_id: str = "111122223333") -> None:
        """Keep certificates in `folder`; serve from `start` to `stop`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.region = region
        self.account_id = account_id
        self.sts = Sts(region, folder)
        self.api = Api()
        # The region's signer of identity documents: RSA-2048, published as a certificate in the EC2 guide.
        subject = pki.name(C="US", ST="Washington State", L="Seattle", O="Amazon Web Services LLC")
        self._signer = pki.self_signed(subject)
        self.certificate_pem = self._signer.certificate_pem
        self._count = 0

    def start(self) -> Self:
        """Serve from now on."""
        self.sts.start()
        self.api.start()
        return self

    def stop(self) -> None:
        """End."""
        self.sts.stop()
        self.api.stop()

    def __enter__(self) -> Self:
        """Serve inside a with block."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """End."""
        self.stop()

    def launch(self, *, role: str | None = "web-instance", public: bool = True, **facts: str) -> Machine:
        """Start an instance: ids, host names, identity-role credentials, a signed document; EC2 knows it at once."""
        self._count += 1
        last = self._count % 250 + 2
        now = time.time()
        instance_id = "i-" + secrets.token_hex(9)[:17]
        address = f"10.20.{self._count // 250}.{last}"
        public_name = f"ec2-198-51-100-{last}.{self.region}.compute.amazonaws.com"
        profile = f"arn:{partition(self.region)}:iam::{self.account_id}:instance-profile/{role}-profile"
        machine = Machine(
            instance_id=instance_id,
            reservation_id="r-" + secrets.token_hex(9)[:17],
            local_hostname=f"ip-{address.replace('.', '-')}.{self.region}.compute.internal",
            public_hostname=public_name if public else None,
            local_ipv4=address,
            mac=f"02:00:00:00:{self._count // 250:02x}:{last:02x}",
            account_id=self.account_id,
            region=self.region,
            availability_zone=self.region + "a",
            partition=partition(self.region),
            role=role,
            profile_arn=profile if role else None,
            pending_time=datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            credentials=self.mint(instance_id),
        )
        machine = self.vouch(replace(machine, **facts))  # type: ignore[arg-type]  # facts are texts by their names
        if role:
            self.api.profiles.setdefault(role, set()).add(profile)
        self.api.records[instance_id] = Record(
            machine=machine,
            launched=now,
            attached=now,
            public_ip=f"198.51.100.{last}" if public else None,
            tags={"aws:autoscaling:groupName": "web", "Name": "web"},
        )
        return machine

    def mint(self, instance_id: str) -> RoleCredentials:
        """Make credentials of the instance identity role: nobody can assume it, its ARN ends in the instance id."""
        credentials = RoleCredentials(
            access_key_id="ASIA" + secrets.token_hex(8).upper(),
            secret_access_key=base64.b64encode(secrets.token_bytes(30)).decode(),
            session_token=base64.b64encode(secrets.token_bytes(300)).decode(),
        )
        arn = f"arn:{partition(self.region)}:sts::{self.account_id}:assumed-role/aws:ec2-instance/{instance_id}"
        self.sts.minted[credentials.access_key_id] = Minted(
            secret=credentials.secret_access_key, token=credentials.session_token, arn=arn, account=self.account_id
        )
        return credentials

    def vouch(self, machine: Machine) -> Machine:
        """Sign the machine's identity document anew, as AWS does at each start."""
        document = document_of(machine)
        key = self._signer.key
        if not isinstance(key, RSAPrivateKey):
            raise TypeError("the signer's key is RSA")
        cms = (
            pkcs7.PKCS7SignatureBuilder()
            .set_data(document)
            .add_signer(self._signer.certificate, key, hashes.SHA256())
            .sign(Encoding.DER, [pkcs7.PKCS7Options.Binary])
        )
        text = base64.b64encode(cms).decode()
        lines = "\n".join(text[at : at + 76] for at in range(0, len(text), 76))
        signature = base64.b64encode(key.sign(document, padding.PKCS1v15(), hashes.SHA256())).decode()
        return replace(machine, document=document, rsa2048=lines, signature=signature)

    def stop_instance(self, instance_id: str) -> None:
        """Stop an instance."""
        self.api.records[instance_id].state = "stopped"

    def start_instance(self, instance_id: str) -> Machine:
        """Start a stopped instance: LaunchTime and pendingTime are new, the interface's attach time is not."""
        row = self.api.records[instance_id]
        row.state, row.launched = "running", time.time()
        stamp = datetime.fromtimestamp(row.launched, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        row.machine = self.vouch(replace(row.machine, pending_time=stamp, credentials=self.mint(instance_id)))
        return row.machine

    def terminate(self, instance_id: str) -> None:
        """Terminate an instance."""
        self.api.records[instance_id].state = "terminated"
