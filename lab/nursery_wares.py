"""What lab/nursery.py imports and reads before it forks: the whole verifier, what AWS's services look like."""

import gc
import os
from unittest.mock import patch

import hsm_verifier.__main__  # noqa: F401  for what it imports
from hsm_verifier.inventory.clients import Clients

# With these, which sign nothing here, boto3 does not look for any; whoever is forked has an environment of its own.
with patch.dict(os.environ, AWS_ACCESS_KEY_ID="none", AWS_SECRET_ACCESS_KEY="none"):
    for service in ("ec2", "iam"):
        Clients().get(service, ("111122223333", "eu-central-1"))
gc.freeze()
