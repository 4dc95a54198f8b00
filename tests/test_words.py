"""The boot's own command line is read without argparse, and exactly as argparse reads it."""

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from hsm_enrol.cli import commands, grammar
from hsm_enrol.errors import Usage
from hsm_enrol.words import plain_enrol

PIECES = (
    "enrol --config --root --reason /a boot operator --config=/b --root= --root=r --root=/r/ --reason=boot "
    "--reason=never --json -v --plan refresh -- - -h --conf=/c --config=-x = --="
)


def by_argparse(argv: list[str]) -> dict[str, object] | None:
    try:
        return dict(vars(grammar.read(argv)))
    except (Usage, SystemExit):
        return None


@given(st.lists(st.sampled_from([*PIECES.split(), ""]), max_size=7))
def test_law_what_is_plain_is_what_argparse_reads(argv: list[str]) -> None:
    plain = plain_enrol(argv)
    if plain is not None:
        rest = {"command": "enrol", "run": commands.enrol, "plan": False, "json": False, "verbose": False}
        assert by_argparse(argv) == plain | rest


def test_the_boot_units_lines_are_plain() -> None:
    for argv in (
        ["enrol", "--reason", "boot"],
        ["enrol", "--reason=cloud-init"],
        ["--config", "/c", "enrol"],
        ["enrol", "--root=/r", "--config=/c", "--config", "/d"],
    ):
        assert plain_enrol(argv) is not None


def test_what_is_not_plain_is_left_to_argparse() -> None:
    for argv in (
        [],
        ["enrol", "-v"],
        ["enrol", "enrol"],
        ["--reason", "boot", "enrol"],
        ["enrol", "--config"],
        ["enrol", "--reason=x", "--reason=boot"],
    ):
        assert plain_enrol(argv) is None


def test_a_first_boot_does_not_import_argparse() -> None:
    code = (
        "import sys; from hsm_enrol.cli.main import main\n"
        "status = main(['enrol', '--config', '/nowhere/hsm-enrol.toml', '--root', '/nowhere'])\n"
        "assert 'hsm_enrol.enrol' in sys.modules and 'argparse' not in sys.modules\n"
        "sys.exit(status)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 78, ran.stderr
