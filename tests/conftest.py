"""What every test has: the loopback guard, in this process and in the children it starts."""

import importlib.util
import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent
GUARD = HERE / "guard"

_spec = importlib.util.spec_from_file_location("hsm_enrol_guard", GUARD / "sitecustomize.py")
assert _spec is not None
assert _spec.loader is not None
guard = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(guard)
LeftLoopback: type[BaseException] = guard.LeftLoopback

# Children of tests see this checkout's code and the guard, whatever is installed.
os.environ["PYTHONPATH"] = os.pathsep.join(map(str, (GUARD, ROOT / "agent", ROOT / "verifier", ROOT)))
for _name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
    os.environ.pop(_name, None)
    os.environ.pop(_name.upper(), None)
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"  # boto3 must not ask the link-local address for credentials


@pytest.fixture
def left_loopback() -> type[BaseException]:
    return LeftLoopback
