"""What `make deb` and `make rpm` build from is pinned, complete and of one version; the building itself is theirs."""

import configparser
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hsm_enrol import __version__ as agent_version
from hsm_verifier import __version__ as verifier_version

ROOT = Path(__file__).parent.parent
PACKAGING = ROOT / "packaging"
CONSTRAINTS = dict(
    re.findall(
        r"^(\S+)==(\S+)$", (PACKAGING / "dev/constraints.txt").read_text().lower().replace("_", "-"), re.MULTILINE
    )
)


def locked(name: str) -> dict[str, str]:
    return dict(re.findall(r"^(\S+)==(\S+) \\$", (PACKAGING / f"lock/{name}.txt").read_text(), re.MULTILINE))


def wanted(setup: Path) -> set[str]:
    parser = configparser.ConfigParser()
    parser.read(setup)
    lines = parser["options"]["install_requires"].split()
    return {re.split(r"[>=<\[]", line)[0].lower() for line in lines} - {"hsm-enrol"}


@pytest.mark.parametrize(("party", "setup"), [("agent", "setup.cfg"), ("verifier", "verifier/setup.cfg")])
def test_what_ships_is_what_was_tested(party: str, setup: str) -> None:
    pinned = locked(party)
    assert wanted(ROOT / setup) <= set(pinned), "run packaging/lock/relock.py"
    assert {name: CONSTRAINTS.get(name) for name in pinned} == pinned, "run packaging/lock/relock.py"


@pytest.mark.parametrize("name", ["agent", "verifier", "systemd", "build"])
def test_each_locked_version_has_a_hash(name: str) -> None:
    text = (PACKAGING / f"lock/{name}.txt").read_text()
    entries = re.split(r"\n(?=\S)", text)[1:]
    assert len(entries) == len(locked(name))
    for entry in entries:
        assert re.fullmatch(r"\S+==\S+(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n?", entry), entry


def test_all_speak_of_one_version() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    version = parser["metadata"]["version"]
    changelog = re.match(r"hsm-enrol \(([^)]+)\)", (PACKAGING / "deb/changelog").read_text())
    spec = re.search(r"^\* .* - (\S+)-1$", (PACKAGING / "rpm/hsm-enrol.spec").read_text(), re.MULTILINE)
    assert changelog is not None
    assert spec is not None
    assert {version, agent_version, verifier_version, changelog[1], spec[1]} == {version}


def test_purging_the_verifier_takes_further_processes_that_an_operator_enabled(tmp_path: Path) -> None:
    """In a mount namespace where the script's folders are its own: nothing of this machine is touched."""
    script = """
        set -eu
        for place in /etc/systemd /var/lib /run; do mount -t tmpfs none $place; done
        units=/etc/systemd/system
        mkdir -p $units/hsm-verifier.service.wants $units/hsm-verifier.service.d /var/lib/hsm-verifier
        ln -s /usr/lib/systemd/system/hsm-verifier@.service $units/hsm-verifier.service.wants/hsm-verifier@2.service
        touch $units/hsm-verifier.service.d/own.conf
        sh "$1" purge
        find /etc/systemd/system /var/lib/hsm* -mindepth 1 ! -type d 2>/dev/null || true
        ls /etc/systemd/system
    """
    postrm = PACKAGING / "deb/verifier/postrm"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", postrm],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.split() == [
        "/etc/systemd/system/hsm-verifier.service.d/own.conf",
        "hsm-verifier.service.d",
    ]


def scriptlet(name: str) -> str:
    spec = (PACKAGING / "rpm/hsm-enrol.spec").read_text()
    match = re.search(rf"^%{name}\n(.*?)(?=^%)", spec, re.MULTILINE | re.DOTALL)
    assert match is not None
    return match[1]


@pytest.mark.parametrize("what", [r"systemctl stop hsm-enrol[^|]*", r'echo "hsm-enrol:.*"'])
def test_both_packages_end_the_same_things_before_they_go(what: str) -> None:
    deb = re.findall(what, (PACKAGING / "deb/agent/prerm").read_text())
    assert deb
    assert re.findall(what, scriptlet("preun")) == deb


@pytest.mark.parametrize("name", ["post", "preun", "postun"])
def test_scriptlets_of_the_rpm_parse(name: str) -> None:
    done = subprocess.run(["sh", "-n"], input=scriptlet(name), text=True, timeout=10, check=False)
    assert done.returncode == 0


def test_each_example_that_a_text_names_is_where_the_packages_put_it() -> None:
    furnished = set(re.findall(r"\b[\w.-]+\.(?:conf|nft|example)\b", (PACKAGING / "furnish.sh").read_text()))
    texts = [path.read_text("utf-8") for folder in ("agent", "verifier") for path in (ROOT / folder).rglob("*.py")]
    assert not [one for one in texts if "systemd/examples" in one], "that folder is in no package"
    shown = [path.read_text("utf-8") for path in (ROOT / "docs").rglob("*") if path.suffix in {".md", ".8", ".5"}]
    named = {
        name
        for text in (*texts, *shown)
        for name in re.findall(r"(?:/usr/share/hsm-\w+/(?:examples/)?|\{EXAMPLES\}/)([\w-]+\.\w+(?:\.\w+)?)", text)
    }
    assert {"other-prefix.conf", "settings-must-come.conf"} <= named
    assert named <= furnished


SCRIPTS = sorted(
    path
    for path in PACKAGING.rglob("*")
    if path.is_file() and path.read_bytes().startswith(b"#!/bin/sh") and "__pycache__" not in path.parts
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(PACKAGING)))
def test_scripts_parse_and_stop_at_the_first_fault(script: Path) -> None:
    assert subprocess.run(["sh", "-n", script], timeout=10, check=False).returncode == 0
    text = script.read_text()
    assert re.search(r"^set -eu?$", text, re.MULTILINE) or script.name == "retry.sh"


def test_needs_says_what_is_missing_and_which_package_brings_it(tmp_path: Path) -> None:
    # Without apt-get on the way nothing is installed, as for somebody who is not root.
    for name in ("dirname", "id", "sed", "sort"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    needs = str(PACKAGING / "dev/needs.sh")
    done = subprocess.run(
        ["/bin/sh", needs, "sed=sed", "no-such-command=no-such-package", "/no/such/file=another-package"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "needs: no-such-command is missing; as root: apt-get install no-such-package\n"
        "needs: /no/such/file is missing; as root: apt-get install another-package\n"
    )


def test_the_sbom_lists_what_lies_there_with_the_archives_digest(tmp_path: Path) -> None:
    info = tmp_path / "site/some_project-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: Some_Project\nVersion: 1.2\nLicense-Expression: MIT\n")
    wheel = tmp_path / "wheels/some_project-1.2-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(b"abc")
    command = [
        sys.executable,
        "-I",
        str(PACKAGING / "sbom.py"),
        "hsm-enrol",
        "1.0",
        str(info.parent),
        str(wheel.parent),
    ]
    runs = [
        subprocess.run(
            command, env={"SOURCE_DATE_EPOCH": "0"}, capture_output=True, text=True, timeout=10, check=True
        ).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    listed = json.loads(runs[0])
    assert listed["metadata"]["timestamp"] == "1970-01-01T00:00:00+00:00"
    assert listed["components"] == [
        {
            "type": "library",
            "bom-ref": "pkg:pypi/some-project@1.2",
            "name": "some-project",
            "version": "1.2",
            "purl": "pkg:pypi/some-project@1.2",
            "licenses": [{"expression": "MIT"}],
            "hashes": [
                {"alg": "SHA-256", "content": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
            ],
        }
    ]
    wheel.unlink()
    failed = subprocess.run(
        command, env={"SOURCE_DATE_EPOCH": "0"}, capture_output=True, text=True, timeout=10, check=False
    )
    assert "LookupError: no archive of some-project 1.2" in failed.stderr
