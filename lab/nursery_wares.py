"""What lab/nursery.py imports and reads before it forks: the whole verifier, what AWS's services look like."""

import gc

import hsm_verifier.__main__  # noqa: F401  for what it imports
from hsm_verifier.inventory.clients import _make

for service in ("ec2", "iam"):
    _make(service, region_name="eu-central-1", aws_access_key_id="none", aws_secret_access_key="none")
gc.freeze()
