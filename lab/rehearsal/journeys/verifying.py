"""Knows what becomes of a verifier out of its own package: set up, asked, restarted, killed, hung, stopped, purged."""

from __future__ import annotations

import json
import re

from lab.party import POLICY
from lab.rehearsal.machine import Machine, until
from lab.rehearsal.seeing import monotonic, see, see_equal, see_joined
from lab.rehearsal.site import Site
from lab.rehearsal.verifier_host import (
    FURTHER,
    NAME,
    PACKAGE,
    SERVICE,
    SOCKET,
    STATE,
    USER,
    VerifierHost,
    modes_below,
)
from lab.rehearsal.verifier_seeing import see_owner, see_sandbox, see_what_it_wrote

EGRESS = "egress.example"
CREDENTIALS = "[default]\naws_access_key_id = AKIALABORATORY\naws_secret_access_key = laboratory\n"
SECRETS = ("bundle.key", "nonce.key", "answer-key-1.pem", "tls.key")
CREDENTIAL_STORE = "/etc/credstore.encrypted"
EXAMPLE = "/usr/share/hsm-verifier/examples/verifier-credentials.conf"
IMPATIENT = "[Service]\nWatchdogSec=4s\n"  # in place of 60 s, so that a hang is found while we look


def verifier_unit(site: Site) -> str:
    """Install the verifier's package on a host of its own, follow docs/operating.md, and enrol an instance there."""
    site.party.stop()
    host = VerifierHost(site, "verifier-host")
    host.machine.boot()
    see_installed(host)
    audience = set_up(site, host)
    see_sandbox(host.machine)
    member = site.machine("verifier-member")
    for path, text in host.settings(audience).items():
        member.write(path, text)
    member.boot()
    see_joined(site, member)
    see_what_it_wrote(site, host)
    publish_as_root(site, host, member)
    have_further_process(host)
    encrypt_secrets(host)
    asked = restart(host)
    waited = kill(host, member)
    hang(host)
    stop(host)
    host.machine.reboot()
    host.machine.wait_for(SERVICE, "active")
    host.ask()
    end(host)
    return (
        f"by the documented commands an instance joined; a restart, with its keys encrypted, lost none of {asked} "
        f"requests; back {waited:.1f} s after SIGKILL, and after a hang; nothing left of it but its user"
    )


def see_installed(host: VerifierHost) -> None:
    """Install it on a running host. Until `init`, neither that nor a boot starts or opens anything."""
    machine = host.machine
    machine.run("dpkg", "--install", "/verifier.deb")
    owner = (int(machine.run("id", "-u", USER)), int(machine.run("id", "-g", USER)))
    see_equal(modes_below(machine, STATE), {".": ("0o700", *owner)}, "an empty folder")
    for boot in (False, True):
        if boot:
            machine.reboot()
        for unit in (SERVICE, SOCKET):
            see_equal(machine.run("systemctl", "is-enabled", unit).strip(), "enabled", unit)
            see_equal(machine.show(unit, "ActiveState"), "inactive", f"{unit} before init, after a boot: {boot}")
        see(not host.listens(), "no open port before init")


def set_up(site: Site, host: VerifierHost) -> str:
    """Do steps 2 to 6 of "From nothing to production in ten steps"; gives the audience."""
    told = host.types(f"hsm-verifier init {STATE} --host {NAME} --host 127.0.0.1")
    found = re.search(r'audience = "(.+)"', told)
    see(found is not None, "an audience printed by init")
    assert found is not None
    host.machine.write("/etc/hosts", f"127.0.0.1 localhost {EGRESS}\n")  # so that names are looked up in the sandbox
    text = host.read("hsm-verifier.toml")
    for key, value in (
        ("endpoint_url", site.aws.api.endpoint),
        ("sts_connect", site.aws.sts.connect.replace("127.0.0.1", EGRESS)),
        ("ca_file", "stand-in-ca.pem"),
    ):
        text = text.replace(f'{key} = ""', f'{key} = "{value}"')
    host.give("hsm-verifier.toml", text)
    host.give("stand-in-ca.pem", site.aws.sts.ca_file.read_text())
    host.give(".aws/credentials", CREDENTIALS)
    host.give("ec2-guide.html", f"Some Place ({site.aws.region})\n{site.aws.certificate_pem}")
    host.types("hsm-verifier aws-certs import ec2-guide.html")
    see(site.aws.region in host.types("hsm-verifier aws-certs list"), "AWS's certificate listed")
    rules = POLICY.format(account=site.aws.account_id, region=site.aws.region, level="identity-role", more="")
    host.give("policy.toml", rules)
    see("web" in host.types("hsm-verifier group list"), "the group of the policy listed")
    host.give("bundle.json", json.dumps(site.parts()))
    site.serial = int(host.types("hsm-verifier bundle put --group web bundle.json").split()[-1])
    host.machine.run("systemctl", "enable", "--now", SOCKET, SERVICE)
    see_equal(host.show(SERVICE, "ActiveState"), "active", "the service, told READY")
    host.ask()
    return found[1]


def publish_as_root(site: Site, host: VerifierHost, member: Machine) -> None:
    """Type a publication as root, by mistake: the verifier reads it none the less, and the instance takes it."""
    words = ("hsm-verifier", "bundle", "put", "--group", "web", "bundle.json")
    site.serial = int(host.machine.run("env", "-C", STATE, *words).split()[-1])
    see_owner(host)
    member.run("hsm-enrol", "refresh")
    see_joined(site, member)


def have_further_process(host: VerifierHost) -> None:
    """Let a second process share socket and ledger: it answers while the first is frozen, and goes when that goes."""
    machine = host.machine
    machine.run("systemctl", "enable", "--now", FURTHER)
    first = host.show(SERVICE, "MainPID")
    machine.run("systemctl", "kill", "--signal=STOP", SERVICE)
    try:
        for _ in range(3):
            host.ask()
    finally:
        machine.run("systemctl", "kill", "--signal=CONT", SERVICE)
    see_equal(host.show(SERVICE, "MainPID"), first, "the first process, which only slept")
    see(machine.has(f"{STATE}/admin-2.sock"), "a page of its own for the second process")
    see_owner(host)
    machine.run("systemctl", "restart", SERVICE)
    machine.wait_for(FURTHER, "active")
    machine.run("systemctl", "stop", SERVICE)
    see_equal(host.show(FURTHER, "ActiveState"), "inactive", "the second process once the first was stopped")
    machine.run("systemctl", "disable", FURTHER)
    machine.run("systemctl", "start", SERVICE)


def encrypt_secrets(host: VerifierHost) -> None:
    """Follow the package's verifier-credentials.conf: from the next start on no key rests on the disk in the clear."""
    machine = host.machine
    machine.run("mkdir", "-p", "-m", "700", CREDENTIAL_STORE)
    text = host.read("hsm-verifier.toml")
    for name in SECRETS:
        plain, sealed = f"{STATE}/secrets/{name}", f"{CREDENTIAL_STORE}/{name}"
        machine.run("systemd-creds", "encrypt", f"--name={name}", plain, sealed)
        machine.run("rm", plain)
        see(f'"secrets/{name}"' in text, f"{name} in the settings")
        text = text.replace(f'"secrets/{name}"', f'"/run/credentials/{SERVICE}/{name}"')
    host.give("hsm-verifier.toml", text)
    machine.run("install", "-D", "-m", "644", EXAMPLE, f"/etc/systemd/system/{SERVICE}.d/verifier-credentials.conf")


def restart(host: VerifierHost) -> int:
    """Restart it while it is asked all the time: nobody is turned away; gives how many asked."""
    machine = host.machine
    machine.write(f"/etc/systemd/system/{SERVICE}.d/rehearsal.conf", IMPATIENT)
    machine.run("systemctl", "daemon-reload")
    opened, process = monotonic(machine, SOCKET, "ActiveEnter"), host.show(SERVICE, "MainPID")
    with host.asked_all_the_time() as tally:
        machine.run("systemctl", "restart", SERVICE)
        before = tally.asked
        until(lambda: tally.asked > before + 20, "requests after the restart")
    see_equal(tally.lost, [], "requests that a restart lost")
    see(host.show(SERVICE, "MainPID") != process, "another process after a restart")
    see_equal(monotonic(machine, SOCKET, "ActiveEnter"), opened, "since when the socket is open")
    return tally.asked


def kill(host: VerifierHost, member: Machine) -> float:
    """Kill it: an agent that asks meanwhile waits in the queue; gives the seconds until it served again."""
    restarts, opened = int(host.show(SERVICE, "NRestarts")), monotonic(host.machine, SOCKET, "ActiveEnter")
    host.machine.run("systemctl", "kill", "--signal=KILL", SERVICE)
    member.run("hsm-enrol", "refresh")
    host.machine.wait_for(SERVICE, "active")
    see_equal(int(host.show(SERVICE, "NRestarts")), restarts + 1, "restarts after SIGKILL")
    see_equal(monotonic(host.machine, SOCKET, "ActiveEnter"), opened, "since when the socket is open")
    host.types("hsm-verifier audit verify")
    return monotonic(host.machine, SERVICE, "ActiveEnter") - monotonic(host.machine, SERVICE, "ActiveExit")


def hang(host: VerifierHost) -> None:
    """See signs of life, then stop the process: systemd misses them and puts another in its place."""
    seen = host.show(SERVICE, "WatchdogTimestampMonotonic")
    until(lambda: host.show(SERVICE, "WatchdogTimestampMonotonic") != seen, "a sign of life")
    restarts = int(host.show(SERVICE, "NRestarts"))
    host.machine.run("systemctl", "kill", "--signal=STOP", SERVICE)
    host.ask()
    see_equal(int(host.show(SERVICE, "NRestarts")), restarts + 1, "restarts after a hang")
    see("Watchdog timeout" in host.log(), "the watchdog in the journal")


def stop(host: VerifierHost) -> None:
    """Stop it: of the service alone the next request makes another, of both nothing is left open."""
    machine = host.machine
    machine.run("systemctl", "stop", SERVICE)
    see_equal(host.show(SERVICE, "Result"), "success", "result of the service")
    see_equal(host.audit()[-1]["event"], "stop", "the last line of the audit")
    host.ask()
    machine.wait_for(SERVICE, "active")
    machine.run("systemctl", "stop", SOCKET, SERVICE)
    for unit in (SOCKET, SERVICE):
        see_equal((host.show(unit, "ActiveState"), host.show(unit, "Result")), ("inactive", "success"), unit)
    see(not host.listens(), "no open port once both are stopped")
    for left in ("admin.sock", "ledger.sqlite-wal"):
        see(not machine.has(f"{STATE}/{left}"), f"no {left} left")
    machine.run("systemctl", "start", "hsm-verifier")
    host.ask()


def end(host: VerifierHost) -> None:
    """Install it over itself, remove it, purge it."""
    machine = host.machine
    process = host.show(SERVICE, "MainPID")
    machine.run("dpkg", "--install", "/verifier.deb")
    host.ask()
    see(host.show(SERVICE, "MainPID") != process, "the newly installed one serving")
    before = {
        name for name in modes_below(machine, STATE) if name != "admin.sock" and not name.endswith(("-shm", "-wal"))
    }
    machine.run("systemctl", "enable", FURTHER)
    machine.run("dpkg", "--remove", PACKAGE)
    see(not host.listens(), "no open port after a removal")
    see(before <= set(modes_below(machine, STATE)), "state kept after a removal")
    machine.run("dpkg", "--purge", PACKAGE)
    see(not machine.has(STATE), "keys, bundles, ledger and audit gone after a purge")
    names = machine.run("find", "/", "-xdev", "-name", "*hsm-verifier*").split()
    names += machine.run("find", "/", "-xdev", "-name", f"*{PACKAGE}*").split()
    others = (
        f"/etc/systemd/system/{SERVICE}.d",
        "/var/tmp/systemd-private-",
        "/tmp/systemd-private-",
        "/sys/",
        "/run/",
    )
    see_equal([name for name in names if not name.startswith(others)], [], "files left after a purge")
    see(machine.run("id", "-un", USER).strip() == USER, "the user still there")
