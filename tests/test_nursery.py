"""What verifiers are forked from has read what AWS's services look like, and asked nobody."""

import ast
import subprocess
import sys

import pytest

from lab.party import environment
from tests.documents import ROOT

CODE = """
import os, sys
read = []
sys.addaudithook(lambda name, facts: read.append(str(facts[0])) if name == "open" else None)
import lab.nursery_wares
before, read[:] = list(read), []
from hsm_verifier.inventory.clients import Clients
os.environ |= {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none"}
Clients().get(sys.argv[1], ("111122223333", "eu-central-1"))
print(*(sum(f"/botocore/data/{sys.argv[1]}/" in one for one in some) for some in (before, read)))
"""


@pytest.mark.parametrize("service", ["ec2", "iam"])
def test_what_the_nursery_has_read_is_not_read_again(service: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", CODE, service],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    before, after = map(int, ran.stdout.split())
    assert before > 0
    assert after == 0


def private_imports(source: str) -> list[str]:
    """Give what is imported from another module although that calls it private."""
    names = [
        (node.module, one.name)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom)
        for one in node.names
    ]
    return [f"{module}.{name}" for module, name in names if name.startswith("_") and not name.endswith("__")]


def test_no_private_name_is_imported_by_another_module() -> None:
    assert private_imports("from a.b import _c, d, __version__\n") == ["a.b._c"]
    files = [path for folder in ("agent", "verifier", "lab") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 200
    assert {str(path): found for path in files if (found := private_imports(path.read_text("utf-8")))} == {}
