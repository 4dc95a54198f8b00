"""`hsm-verifier serve` as operators run it, with the laboratory's AWS behind it: nothing inside is played."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import requests

from hsm_enrol.host.imds import Credentials
from hsm_enrol.host.sigv4 import sign_get_caller_identity
from hsm_enrol.wire.answer import open_answer, verify_answer
from hsm_enrol.wire.assertion import Assertion, sign_assertion
from hsm_enrol.wire.keys import PublicJwk, generate_key, public_from_pem
from hsm_enrol.wire.messages import ASSERTION_TYPE, Challenge, Problem
from hsm_enrol.wire.seal import SealPrivateKey
from hsm_verifier.__main__ import main
from hsm_verifier.chain import verify
from hsm_verifier.settings import load_settings
from hsm_verifier.vault import Vault
from lab.asking import now, request_of
from lab.aws import Aws
from lab.machine import Machine
from tests.verifier.party import NOW, make_bundle
from tests.verifier.unix import fetch


@dataclass
class Site:
    """A running verifier and the AWS it asks."""

    folder: Path
    url: str
    aws: Aws
    serial: int

    def session(self) -> requests.Session:
        made = requests.Session()
        made.trust_env = False
        made.verify = str(self.folder / "verifier-ca.pem")
        return made


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    folder = tmp_path / "vp"
    assert main(["init", str(folder), "--host", "127.0.0.1"]) == 0
    config = folder / "hsm-verifier.toml"
    vault = Vault(folder / "bundles", (folder / "secrets" / "bundle.key").read_bytes())
    serial = vault.put("web", make_bundle(), NOW)
    with Aws(tmp_path / "aws") as aws:
        (folder / "aws-certs" / f"{aws.region}.pem").write_text(aws.certificate_pem)
        text = config.read_text().replace('endpoint_url = ""', f'endpoint_url = "{aws.api.endpoint}"')
        text = text.replace('sts_connect = ""', f'sts_connect = "{aws.sts.connect}"')
        config.write_text(text.replace('ca_file = ""', f'ca_file = "{aws.sts.ca_file}"'))
        with (tmp_path / "stderr").open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "hsm_verifier", "serve", "--config", str(config), "--listen", "127.0.0.1:0"],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=os.environ | {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "CANARY-own-secret"},
            )
        assert process.stdout is not None
        with process.stdout:
            line = process.stdout.readline()
            assert line.startswith("listening on "), (tmp_path / "stderr").read_text()
            yield Site(folder=folder, url=line.removeprefix("listening on ").strip(), aws=aws, serial=serial)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


@dataclass
class Agent:
    """What an agent on a machine would send."""

    site: Site
    machine: Machine
    seal: SealPrivateKey

    def request(self) -> Assertion:
        session = self.site.session()
        told = Challenge.from_bytes(session.get(f"{self.site.url}/v1/challenge", timeout=10).content)
        public = public_from_pem((self.site.folder / "answer-key.pem").read_bytes())
        bare = replace(
            request_of(self.machine),
            aud=load_settings(self.site.folder / "hsm-verifier.toml").audience,
            eat_nonce=told.nonce,
            cnf=PublicJwk.from_key(KEY.public_key()),
            seal=self.seal.public,
            trust=(PublicJwk.from_key(public).thumbprint,),
        )
        own = self.machine.credentials
        role = sign_get_caller_identity(
            Credentials(
                access_key_id=own.access_key_id,
                secret_access_key=own.secret_access_key,
                session_token=own.session_token,
                expiration=own.expiration,
            ),
            region=self.machine.region,
            endpoint="regional",
            suffix=None,
            amz_date=now(),
            binding=bare.binding(),
        )
        return replace(bare, identity_role=role)

    def post(self, request: Assertion) -> requests.Response:
        body = sign_assertion(request, KEY)
        headers = {"content-type": ASSERTION_TYPE}
        return self.site.session().post(f"{self.site.url}/v1/enrolments", data=body, headers=headers, timeout=20)


KEY = generate_key()


def test_a_launched_instance_is_served_and_a_forged_proof_is_not(site: Site) -> None:
    agent = Agent(site, site.aws.launch(), SealPrivateKey.generate("mlkem768-x25519"))
    request = agent.request()
    forged = agent.post(replace(request, jti="A" * 21 + "Q"))
    assert (forged.status_code, Problem.from_bytes(forged.content).reason) == (403, "evidence_invalid")
    reply = agent.post(request)
    assert reply.status_code == 200, reply.text
    public = public_from_pem((site.folder / "answer-key.pem").read_bytes())
    bundle = open_answer(verify_answer(reply.content, [public]), request, agent.seal)
    assert bundle == replace(make_bundle(), serial=site.serial)
    log = (site.folder / "audit.jsonl").read_text()
    assert '"outcome":"answered"' in log
    assert '"level":"identity-role"' in log
    told = log + (site.folder.parent / "stderr").read_text()
    for secret in (agent.machine.credentials.session_token, agent.machine.credentials.secret_access_key, "CANARY"):
        assert secret not in told
    verify(site.folder / "audit.jsonl")
    status, page = fetch(site.folder / "admin.sock", f"/instances/{agent.machine.instance_id}")
    assert (status, "TAKEN" in page, "identity-role" in page) == (200, True, True)
    _, metrics = fetch(site.folder / "admin.sock", "/metrics")
    assert 'decisions_total{event="enrolment",outcome="answered",reason=""} 1' in metrics
    assert 'decisions_total{event="enrolment",outcome="refused",reason="evidence_invalid"} 1' in metrics
    assert 'hsm_verifier_slots{state="TAKEN"} 1' in metrics
    assert agent.machine.instance_id not in metrics


def test_the_page_is_the_servers_own_users_alone(site: Site) -> None:
    place = site.folder / "admin.sock"
    assert place.stat().st_mode & 0o777 == 0o600
    assert fetch(place, "/")[0] == 200
    assert (
        requests.get(site.url + "/metrics", verify=str(site.folder / "verifier-ca.pem"), timeout=10).status_code == 404
    )


def test_a_stopped_instance_is_not_admitted(site: Site) -> None:
    machine = site.aws.launch()
    site.aws.stop_instance(machine.instance_id)
    reply = Agent(site, machine, SealPrivateKey.generate("p256")).post(
        Agent(site, machine, SealPrivateKey.generate("p256")).request()
    )
    assert Problem.from_bytes(reply.content).reason == "not_admitted"


def test_nobody_has_to_read_what_it_prints_and_the_page_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "vp"
    assert main(["init", str(folder), "--host", "127.0.0.1"]) == 0
    words = ["serve", "--config", str(folder / "hsm-verifier.toml"), "--listen", "127.0.0.1:0"]
    ours, theirs = os.pipe()
    os.close(ours)
    with (tmp_path / "stderr").open("w") as stderr:
        process = subprocess.Popen([sys.executable, "-m", "hsm_verifier", *words], stdout=theirs, stderr=stderr)
    os.close(theirs)
    try:
        assert tries(lambda: fetch(folder / "admin.sock", "/metrics")[0]) == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, (tmp_path / "stderr").read_text()
    finally:
        process.kill()
        process.wait()


def tries(what: Callable[[], int]) -> int | None:
    for _ in range(200):
        with contextlib.suppress(OSError):
            return what()
        time.sleep(0.05)
    return None
