"""What packaging/ holds for clouds, looked at by the tool that owns each format, where there is one."""

import base64
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from hsm_enrol.settings import parse
from lab.rehearsal import user_data
from tests.shown import blocks

PACKAGING = Path(__file__).parent.parent / "packaging"
COMPONENT = PACKAGING / "ami/component.yaml"
POLICY = PACKAGING / "aws/verifier-policy.json"
CFN_LINT = Path(sys.executable).with_name("cfn-lint")
TEMPLATES = sorted((PACKAGING / "aws").glob("*.yaml"))
UNITS = "hsm-enrol.service hsm-enrol-retry.timer hsm-enrol-refresh.timer hsm-enrol-check.timer"


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    subprocess.run([PACKAGING / "dev/needs.sh", "packer=packer", "systemd-analyze=systemd"], check=True, timeout=110)


def run(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, cwd=cwd)


def load_template(name: str) -> Any:
    """Read a template; CloudFormation's short forms are read as the value they stand before."""
    loader = type("Loader", (yaml.SafeLoader,), {})
    yaml.add_multi_constructor("!", lambda loader, _, node: loader.construct_scalar(node), Loader=loader)
    return yaml.load((PACKAGING / "aws" / name).read_text(), loader)


FLEET = user_data.fleet(
    {
        "VerifierUrls": '"https://vp1.example:8443"',
        "Audience": "hsm-enrol:" + "0" * 32,
        "VerifierCa": base64.b64encode(b"ca").decode(),
        "AnswerKey": base64.b64encode(b"key").decode(),
    }
)


# That cloud-init takes both is shown by the rehearsal, in whose image it is.
@pytest.mark.parametrize("text", [user_data.example(), FLEET], ids=["example", "fleet"])
def test_user_data_brings_good_settings_in_time_and_starts_the_unit_last(text: str) -> None:
    config = yaml.safe_load(text)
    settings = next(item for item in config["write_files"] if item["path"].endswith("hsm-enrol.toml"))
    parse(settings["content"].encode(), "user-data")
    named = tomllib.loads(settings["content"])["verifier"]
    assert {named["ca_file"], *named["answer_keys"]} <= {item["path"] for item in config["write_files"]}
    assert not any(item.get("defer") for item in config["write_files"])
    assert config["runcmd"][-1] == ["systemctl", "start", "hsm-enrol.service"]


def test_cloudformation_templates_and_the_verifiers_policy_are_clean(tmp_path: Path) -> None:
    policy = {"PolicyDocument": json.loads(POLICY.read_text())}
    file = tmp_path / "policy.json"
    file.write_text(json.dumps({"Resources": {"Policy": {"Type": "AWS::IAM::ManagedPolicy", "Properties": policy}}}))
    done = run(CFN_LINT, *TEMPLATES, file)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_wrong_value_in_a_template_would_be_found(tmp_path: Path) -> None:
    wrong = tmp_path / "fleet.yaml"
    wrong.write_text((PACKAGING / "aws/fleet.yaml").read_text().replace("HttpTokens: required", "HttpTokens: requierd"))
    assert "E3030" in run(CFN_LINT, wrong).stdout


def test_the_verifiers_policy_is_the_same_in_both_places() -> None:
    role = load_template("verifier-role.yaml")["Resources"]["Looks"]["Properties"]

    def rights(document: dict[str, Any]) -> list[tuple[str, str, str]]:
        return [(one["Sid"], one["Effect"], one["Action"]) for one in document["Statement"]]

    assert rights(json.loads(POLICY.read_text())) == rights(role["Policies"][0]["PolicyDocument"])


def test_one_role_to_assume_is_named_by_template_settings_and_document() -> None:
    template = load_template("verifier-role.yaml")
    name = template["Resources"]["Looks"]["Properties"]["RoleName"]
    arn = f'assume_role = "arn:{{partition}}:iam::{{account}}:role/{name}"'
    assert arn in template["Description"]
    for place in ("verifier/hsm_verifier/samples/hsm-verifier.toml", "docs/operating.md"):
        assert arn in (PACKAGING.parent / place).read_text(), place


def test_the_policy_allows_each_call_the_verifier_makes_and_no_other() -> None:
    from hsm_verifier import inventory

    source = "".join(path.read_text() for path in Path(inventory.__path__[0]).glob("*.py"))
    calls = set(re.findall(r'get_paginator\("(\w+)"\)', source))
    calls |= set(re.findall(r'_clients\.get\("\w+", \w+\)\.((?!get_paginator)\w+)\(', source))
    policy = json.loads(POLICY.read_text())
    allowed = {statement["Action"].partition(":")[2] for statement in policy["Statement"]}
    assert {"".join(word.title() for word in call.split("_")) for call in calls} - allowed == {
        "ListInstanceProfilesForRole"  # asked only where GetInstanceProfile is denied
    }
    assert len(allowed) == len(calls) - 1


def test_the_rights_that_operating_shows_are_the_calls_that_the_verifier_makes() -> None:
    (shown,) = (
        json.loads(one.text) for one in blocks() if (one.document, one.language) == ("docs/operating.md", "json")
    )
    (statement,) = shown["Statement"]
    packaged = json.loads(POLICY.read_text())
    assert (shown["Version"], statement["Effect"]) == (packaged["Version"], "Allow")
    assert sorted(statement["Action"]) == sorted(one["Action"] for one in packaged["Statement"])


STEP: dict[str, Any] = {
    "type": "object",
    "required": ["name", "action", "inputs"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"},
        "action": {"enum": ["ExecuteBash", "S3Download", "Reboot", "WebDownload"]},
        "inputs": {},
    },
    "allOf": [
        {
            "if": {"properties": {"action": {"const": "ExecuteBash"}}},
            "then": {
                "properties": {
                    "inputs": {
                        "type": "object",
                        "required": ["commands"],
                        "properties": {"commands": {"type": "array", "minItems": 1, "items": {"type": "string"}}},
                    }
                }
            },
        }
    ],
}
# EC2 Image Builder has no validator that works offline; this is what its guide says of a component document.
DOCUMENT: dict[str, Any] = {
    "type": "object",
    "required": ["name", "schemaVersion", "phases"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "description": {"type": "string"},
        "schemaVersion": {"const": 1.0},
        "parameters": {"type": "array", "items": {"type": "object", "minProperties": 1, "maxProperties": 1}},
        "phases": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "steps"],
                "additionalProperties": False,
                "properties": {
                    "name": {"enum": ["build", "validate", "test"]},
                    "steps": {"type": "array", "minItems": 1, "items": STEP},
                },
            },
        },
    },
}


def test_the_image_builder_component_has_the_shape_of_one() -> None:
    text = COMPONENT.read_text()
    document = yaml.safe_load(text)
    jsonschema.validate(document, DOCUMENT)
    assert [phase["name"] for phase in document["phases"]] == ["build", "validate", "test"]
    declared = {name for parameter in document["parameters"] for name in parameter}
    assert set(re.findall(r"\{\{ (\w+) \}\}", text)) == declared


def test_both_image_recipes_enable_every_unit_and_generalize_after_it() -> None:
    for recipe in (PACKAGING / "ami/provision.sh", COMPONENT):
        text = recipe.read_text()
        assert 0 < text.index(f"systemctl enable {UNITS}") < text.index("hsm-enrol generalize")


def test_what_both_image_recipes_verify_passes_where_no_manual_can_be_shown(tmp_path: Path) -> None:
    """An image may lack man, or leave manuals out."""
    unit = tmp_path / "hsm-enrol.service"
    unit.write_text(
        (PACKAGING.parent / "systemd/hsm-enrol.service").read_text().replace("/usr/bin/hsm-enrol", "/bin/true")
    )
    for recipe in (PACKAGING / "ami/provision.sh", COMPONENT):
        (options,) = re.findall(
            r"systemd-analyze verify (.*)/usr/lib/systemd/system/hsm-enrol.service", recipe.read_text()
        )
        done = run("env", "PATH=/nowhere", shutil.which("systemd-analyze") or "", "verify", *options.split(), unit)
        assert done.returncode == 0, f"{recipe.name}: {done.stderr}"
        # A sandbox that this systemd knows a part of only is no sound unit.
        unknown = tmp_path / "unknown/hsm-enrol.service"
        unknown.parent.mkdir(exist_ok=True)
        unknown.write_text(unit.read_text().replace("ProtectClock=", "ProtectTime="))
        assert run("systemd-analyze", "verify", *options.split(), unknown).returncode != 0, recipe.name


def test_the_packer_template_is_one_that_packer_takes(tmp_path: Path) -> None:
    (tmp_path / "packaging/ami").mkdir(parents=True)
    (tmp_path / "dist").mkdir()
    for name in ("hsm-enrol.pkr.hcl", "provision.sh"):
        shutil.copy(PACKAGING / "ami" / name, tmp_path / "packaging/ami")
    for name in ("dist/hsm-enrol_0.1.0_amd64.deb", "luna.tar"):
        (tmp_path / name).touch()
    variables = ("-var", "region=eu-central-1", "-var", "subnet=subnet-0", "-var", "luna_client=luna.tar")
    template = tmp_path / "packaging/ami/hsm-enrol.pkr.hcl"
    # The one block that a packer before 1.7 does not know.
    text, count = re.subn(r"(?m)^  metadata_options \{\n(?:    .*\n)+  \}\n", "", template.read_text())
    assert count == 1
    template.write_text(text)
    done = run("packer", "validate", *variables, template, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    template.write_text(text.replace("encrypt_boot", "encrypt_boat"))
    assert run("packer", "validate", *variables, template, cwd=tmp_path).returncode == 1
