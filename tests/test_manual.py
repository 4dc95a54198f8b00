"""The manual pages, the completion and the example settings say what the code does."""

import ast
import re
import subprocess
import tomllib
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from hsm_enrol.cli.grammar import parser as agents_parser
from hsm_enrol.errors import STATUSES, catalogue
from hsm_enrol.settings import Settings, load, parse
from hsm_verifier.__main__ import make_parser

ROOT = Path(__file__).parent.parent
MANUALS = sorted((ROOT / "docs/man").iterdir())
EXAMPLE = ROOT / "packaging/hsm-enrol.toml.example"
KINDS = {one.name: type(getattr(load(str(EXAMPLE)), one.name)) for one in fields(Settings) if one.default is MISSING}
AGENT_COMMANDS = {"enrol", "re-enrol", "refresh", "status", "check", "assertion", "explain", "leave", "generalize"}


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    needs = ("mandoc=mandoc", "/usr/share/bash-completion/bash_completion=bash-completion")
    subprocess.run([ROOT / "packaging/dev/needs.sh", *needs], check=True, timeout=110)


def run(*words: str | Path) -> str:
    return subprocess.run(words, capture_output=True, text=True, timeout=30, check=True).stdout


def shown(manual: str) -> str:
    """The page as a terminal shows it, without overstrikes."""
    return re.sub(r".\x08", "", run("mandoc", "-T", "ascii", ROOT / "docs/man" / manual))


def section(manual: str, title: str) -> str:
    match = re.search(rf"^{title}\n(.*?)(?=^\S)", shown(manual), re.MULTILINE | re.DOTALL)
    assert match is not None
    return match[1]


@pytest.mark.parametrize("page", MANUALS, ids=lambda page: page.name)
def test_mandoc_finds_nothing_wrong(page: Path) -> None:
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_each_exit_status_of_the_code_is_in_the_manual() -> None:
    listed = re.findall(
        r"^     (\d+) +((?:.|\n)*?)(?=\n\n|\n     \d)", section("hsm-enrol.8", "EXIT STATUS"), re.MULTILINE
    )
    shown = {int(status): alike(text) for status, text in listed}
    assert shown == {status: alike(text) for status, text in STATUSES.items()}
    assert {kind.status for kind in catalogue()} | {0, 1} == set(shown)


def alike(text: str) -> str:
    """A sentence without markup, line ends and its capital."""
    return (
        " ".join(text.replace("`", "").rstrip(".").split())
        .lower()
        .replace("status :", "status:")
        .replace("check :", "check:")
    )


def test_each_setting_is_in_the_manual_with_its_default() -> None:
    page = shown("hsm-enrol.toml.5")
    found: dict[str, dict[str, str]] = {}
    for part in re.split(r"^   \[", page, flags=re.MULTILINE)[1:]:
        table, _, rest = part.partition("]")
        rest = re.split(r"^\S", rest, maxsplit=1, flags=re.MULTILINE)[0]
        found[table] = dict(re.findall(r"^     ([a-z_]+)(?: = (\S.*?))?(?:  .*)?$", rest, re.MULTILINE))
    required = {"urls", "audience", "ca_file", "answer_keys"}
    assert {key for key, default in found["verifier"].items() if not default} == required
    names = {
        one.name: {inner.name for inner in fields(KINDS[one.name])} for one in fields(Settings) if one.name in KINDS
    }
    assert {table: set(keys) for table, keys in found.items()} == names
    set_there = [line for line in EXAMPLE.read_text().splitlines() if re.match(r"[a-z_]+ = ", line)]
    text = "\n".join(("[verifier]", *set_there, *defaults(found.pop("verifier")), ""))
    text += "".join("\n".join((f"[{table}]", *defaults(keys), "")) for table, keys in found.items())
    assert parse(text.encode(), "manual") == load(str(EXAMPLE))


def defaults(keys: dict[str, str]) -> list[str]:
    return [f"{key} = {default}" for key, default in keys.items() if default]


def test_the_example_names_every_key_and_its_default() -> None:
    bare = load(str(EXAMPLE))
    text = EXAMPLE.read_text()
    filled = re.sub(r"^# ([a-z_]+ = )", r"\1", text, flags=re.MULTILINE)
    assert parse(filled.encode(), "example") == bare
    named = {table: set(keys) for table, keys in tomllib.loads(filled).items()}
    assert named == {table: {one.name for one in fields(kind)} for table, kind in KINDS.items()}


def test_each_command_is_in_the_manual() -> None:
    agent = section("hsm-enrol.8", "DESCRIPTION")
    assert {word for word in AGENT_COMMANDS if re.search(rf"^     {word}\b", agent, re.MULTILINE)} == AGENT_COMMANDS
    verifier = section("hsm-verifier.8", "DESCRIPTION")
    for name, subcommands in commands_of_the_verifier().items():
        lines = re.findall(rf"^     {name}\b(.*)$", verifier, re.MULTILINE)  # prose may begin with the word too
        assert any(subcommands == set(re.findall(r"[a-z]+", line)) & subcommands for line in lines), name


def entries(manual: str) -> dict[str, str]:
    """What the page says of each command, by its first word."""
    parts = re.split(r"^ {5}(?=[a-z])", section(manual, "DESCRIPTION"), flags=re.MULTILINE)
    return {text.split()[0]: text for text in parts if text.strip()}


def test_each_option_of_each_command_is_in_its_entry_of_the_manual() -> None:
    shared = options(agents_parser()) | {"--help"}
    for manual, parser in (("hsm-enrol.8", agents_parser()), ("hsm-verifier.8", make_parser())):
        told = entries(manual)
        for name, one in subparsers(parser).items():
            wanted = {word for inner in leaves(one) for word in options(inner)} - shared - {"--config"}
            assert {word for word in wanted if not re.search(rf"{word}\b", told[name])} == set(), f"{manual} {name}"


def leaves(parser: object) -> list[object]:
    inner = subparsers(parser)
    return [leaf for one in inner.values() for leaf in leaves(one)] if inner else [parser]


def test_each_exit_status_of_the_verifier_is_in_its_manual() -> None:
    calls = [
        call
        for path in (ROOT / "verifier/hsm_verifier").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in {"CliError", "_fail"}
    ]
    given = {call.args[1].value for call in calls if len(call.args) > 1 and isinstance(call.args[1], ast.Constant)}
    assert len(calls) > 20
    listed = {
        int(status) for status in re.findall(r"^ {5}(\d+) ", section("hsm-verifier.8", "EXIT STATUS"), re.MULTILINE)
    }
    assert listed == given | {0, 1}


@pytest.mark.parametrize("words", [["nosuch"], ["ledger"], ["--nonsense"], ["grant", "i-0", "--count", "many"]])
def test_a_wrong_word_ends_the_verifiers_command_as_its_manual_says(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        make_parser().parse_args(words)
    assert ended.value.code == 64


def commands_of_the_verifier() -> dict[str, set[str]]:
    return {name: set(subparsers(parser)) for name, parser in subparsers(make_parser()).items()}


def subparsers(parser: object) -> dict[str, object]:
    actions = parser._actions  # type: ignore[attr-defined]  # argparse offers no other way to ask
    return next((dict(action.choices) for action in actions if type(action).__name__ == "_SubParsersAction"), {})


def options(parser: object) -> set[str]:
    return {word for action in parser._actions for word in action.option_strings if word.startswith("--")}  # type: ignore[attr-defined]


def complete(program: str, *words: str) -> set[str]:
    """What bash offers after these words, the last of which is begun."""
    script = ROOT / "packaging/completion" / program
    line = " ".join((program, *words))
    return set(
        run(
            "bash",
            "-c",
            'source /usr/share/bash-completion/bash_completion; source "$1"; COMP_LINE=$2; COMP_POINT=${#2};'
            'shift 2; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); "_${1//-/_}"; printf "%s\\n" "${COMPREPLY[@]}"',
            "bash",
            script,
            line,
            program,
            *words,
        ).split()
    )


def test_completion_offers_the_agents_commands() -> None:
    assert {word for word in complete("hsm-enrol", "") if not word.startswith("-")} == AGENT_COMMANDS
    assert complete("hsm-enrol", "enrol", "--reason", "c") == {"cloud-init"}
    shared = options(agents_parser()) - {"--help"}
    for name, one in subparsers(agents_parser()).items():
        assert complete("hsm-enrol", name, "--") - {"--help"} == options(one) - shared - {"--help"}, name


def test_completion_offers_what_the_verifier_takes() -> None:
    offered = complete("hsm-verifier", "")
    for name, parser in subparsers(make_parser()).items():
        assert name in offered
        inner = subparsers(parser)
        if inner:
            assert complete("hsm-verifier", name, "") == set(inner)
        for sub, subparser in (inner or {"": parser}).items():
            words = (name, sub) if sub else (name,)
            offered_here = complete("hsm-verifier", *words, "--") | {"--config", "--help"}
            assert offered_here == options(subparser) | {"--config"}, words
