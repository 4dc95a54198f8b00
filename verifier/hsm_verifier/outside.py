"""Knows how the settings become the helpers that judge by AWS's word: policy, STS, inventory, certificates."""

from __future__ import annotations

from pathlib import Path

from hsm_verifier.aside import Aside
from hsm_verifier.evidence.caller_identity import StsClient
from hsm_verifier.evidence.certs import load_folder
from hsm_verifier.evidence.iid import Documents
from hsm_verifier.inventory.ec2 import Ec2Inventory
from hsm_verifier.inventory.static import StaticInventory
from hsm_verifier.policy import Policy
from hsm_verifier.policy_file import load_policy
from hsm_verifier.settings import Settings, SettingsError
from hsm_verifier.turns import bell


def open_policy(settings: Settings) -> Policy:
    """Read the policy file. Raises PolicyError."""
    return load_policy(Path(settings.state.policy))


def open_sts(settings: Settings) -> StsClient:
    """Make the STS client; it connects when asked."""
    aws = settings.aws
    return StsClient(connect=aws.sts_connect, ca_file=aws.ca_file, dns_suffixes=aws.dns_suffixes)


def open_inventory(settings: Settings, aside: Aside) -> Ec2Inventory | StaticInventory:
    """Make the inventory that the settings choose. Raises SettingsError, StaticError."""
    aws = settings.aws
    if aws.inventory == "ec2":
        return Ec2Inventory(
            endpoint_url=aws.endpoint_url,
            assume_role=aws.assume_role,
            external_id=aws.assume_role_external_id,
            bell=bell,
            aside=aside,
        )
    if not aws.static_instances:
        raise SettingsError("aws.static_instances: missing, and aws.inventory is static")
    return StaticInventory(Path(aws.static_instances))


def open_documents(settings: Settings) -> Documents:
    """Read AWS's regional certificates. Raises CertificateError."""
    return Documents(load_folder(Path(settings.state.aws_certs)))
