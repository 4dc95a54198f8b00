"""Knows what has to be seen of a packaged verifier: its process, its files, its page. Raises NotSeen otherwise."""

from __future__ import annotations

from lab.rehearsal.machine import Machine
from lab.rehearsal.seeing import see, see_equal
from lab.rehearsal.site import Site
from lab.rehearsal.verifier_host import SERVICE, STATE, USER, VerifierHost, modes_below

PUBLIC = {"hsm-verifier.toml", "policy.toml", "tls.pem", "verifier-ca.pem", "answer-key.pem"}
LOOKS = """import http.client, socket
asking = http.client.HTTPConnection("localhost")
asking.sock = socket.socket(socket.AF_UNIX)
asking.sock.connect("/var/lib/hsm-verifier/admin.sock")
asking.request("GET", "/metrics")
reply = asking.getresponse()
print(reply.status, reply.read().decode())
"""


def see_sandbox(machine: Machine) -> None:
    """See the process run as the unit's user, without rights, in namespaces of its own, on a disk it cannot write."""
    process = machine.show(SERVICE, "MainPID")
    status = dict(line.split(":", 1) for line in machine.run("cat", f"/proc/{process}/status").splitlines())
    user, group = machine.run("id", "-u", USER).strip(), machine.run("id", "-g", USER).strip()
    see_equal(status["Uid"].split(), [user] * 4, "user of the process")
    see_equal(status["Gid"].split(), [group] * 4, "group of the process")
    for name, wanted in (("CapEff", "0" * 16), ("CapBnd", "0" * 16), ("NoNewPrivs", "1"), ("Seccomp", "2")):
        see_equal(status[name].strip(), wanted, name)
    for name in ("mnt", "user"):
        own = machine.run("readlink", f"/proc/{process}/ns/{name}")
        see(own != machine.run("readlink", f"/proc/1/ns/{name}"), f"a {name} namespace of its own")
    lines = [line.split() for line in machine.run("cat", f"/proc/{process}/mountinfo").splitlines()]
    mounts = {line[4]: line[5].split(",")[0] for line in lines}
    see_equal((mounts["/"], mounts[STATE]), ("ro", "rw"), "what it may write")


def see_owner(host: VerifierHost) -> dict[str, tuple[str, int, int]]:
    """See that everything in the folder is the verifier's; gives modes and owners."""
    modes = modes_below(host.machine, STATE)
    see_equal({name: one for name, one in modes.items() if one[1:] != modes["."][1:]}, {}, "files of others")
    return modes


def see_what_it_wrote(site: Site, host: VerifierHost) -> None:
    """See ledger and audit, of its user and for nobody else, and the operators' page that root may look at."""
    own = site.imds.machine.instance_id
    row = next((line for line in host.types("hsm-verifier ledger list").splitlines() if own in line), "")
    see("CONFIRMED" in row and str(site.serial) in row, "the instance and its serial confirmed in the ledger")
    host.types("hsm-verifier audit verify")
    see(own in host.types("hsm-verifier audit tail"), "the instance in the audit")
    modes = see_owner(host)
    owner = modes["."][1:]
    for name in ("audit.jsonl", "audit.jsonl.head", "ledger.sqlite", "admin.sock"):
        see_equal(modes[name], ("0o600", *owner), name)
    open_to_others = {name for name, one in modes.items() if int(one[0], 8) & 0o077 and "aws-certs/" not in name}
    see_equal(open_to_others, PUBLIC, "what others could read, but for the folder's own mode")
    page = host.machine.run("python3", "-Ic", LOOKS)
    see(page.startswith("200 ") and 'slots{state="CONFIRMED"} 1' in page, "metrics for root by the socket")
