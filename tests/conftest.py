"""What every test has: the loopback guard, in this process and in the children it starts."""

import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent
GUARD = HERE / "guard"


def _load_guard() -> type[BaseException]:
    """Give the guard's exception; a worker of pytest-xdist is a child and has been guarded since it started."""
    there = sys.modules.get("sitecustomize")
    if not hasattr(there, "LeftLoopback"):
        spec = importlib.util.spec_from_file_location("hsm_enrol_guard", GUARD / "sitecustomize.py")
        assert spec is not None
        assert spec.loader is not None
        there = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(there)
    kind: type[BaseException] = there.LeftLoopback  # type: ignore[union-attr]  # looked at just above
    return kind


LEFT_LOOPBACK = _load_guard()

# Children of tests see this checkout's code and the guard, whatever is installed.
os.environ["PYTHONPATH"] = os.pathsep.join(map(str, (GUARD, ROOT / "agent", ROOT / "verifier", ROOT)))
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
for _name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
    os.environ.pop(_name, None)
    os.environ.pop(_name.upper(), None)
# Who runs this in the background, or below nohup, hands down signals that are ignored; tests send them to children.
for _signal, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_signal) is signal.SIG_IGN:
        signal.signal(_signal, _usual)
os.environ["HSM_ENROL_NURSERY"] = "1"  # lab/nursery.py
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"  # boto3 must not ask the link-local address for credentials

# The same examples each time, so that a run on another machine can be repeated; HSM_ENROL_RANDOM=1 looks for new ones.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
if not os.environ.get("HSM_ENROL_RANDOM"):
    hypothesis.settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let tests/test_conformance.py be run against a verifying party that is running somewhere."""
    group = parser.getgroup("party", "black-box tests against another verifying party")
    group.addoption("--party-url", metavar="URL", help="https://host:port of the verifying party (default: start one)")
    group.addoption(
        "--party-json",
        metavar="FILE",
        default=".lab/lab.json",
        help="JSON with `imds` (one address or a list, each of an instance that was never served) and `config` (an "
        "agent's settings for that party), as `make lab` writes it (default: %(default)s)",
    )


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    """Leave the next test the umask of before: a command that runs in this process takes group and others out of it."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture
def left_loopback() -> type[BaseException]:
    return LEFT_LOOPBACK
