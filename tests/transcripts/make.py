"""Knows one occurrence of every fault, and writes what an operator sees of it: `python -m tests.transcripts.make`.

`REASON.txt` is stderr on a terminal of 80 columns, `REASON.json` is stdout with --json. They are read by people when a
sentence changes: that is what they are for.
"""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path

from hsm_enrol.cli.main import error_as_json
from hsm_enrol.cli.out import show_json
from hsm_enrol.errors import EnrolError, catalogue
from hsm_enrol.host.terminal import Terminal
from hsm_enrol.host.voice import Voice

HERE = Path(__file__).parent
URL = "https://vp1.example:8443"
CONF = "/etc/Chrystoki.conf"
CLIENT = "/usr/safenet/lunaclient/cert/client"
DECISION = "3aec3ee88016"
INSTANCE = "i-0a1b2c3d4e5f60718"
THUMBPRINT = "t4CP-4HF29cOFnQJa6pz8N5fFlm3M_l5ebhHJpNahjM"
FACTS: dict[str, dict[str, str | int]] = {
    "usage": {"fault": "unrecognized arguments: --resaon"},
    "bad_value": {"section": "LunaSA Client", "key": "ClientCertFile"},
    "group_conflict": {"label": "payments-old"},
    "not_understood": {"path": CONF, "line": 41, "what": "section inside a section"},
    "subject_conflict": {"path": "/usr/safenet/lunaclient/cert/server/CAFile.pem", "address": "hsm2.example"},
    "appliances_unreachable": {"address": "hsm1.example", "port": 1792, "what": "no connection in time"},
    "certificate_not_accepted": {
        "address": "hsm1.example",
        "port": 1792,
        "what": "another certificate than the bundle's",
    },
    "no_slots": {},
    "not_proven": {"label": "web-ha"},
    "tool_damage": {"tool": "vtl", "command": "addServer", "path": CONF, "count": 3},
    "tool_failed": {"tool": "vtl", "command": "addServer", "what": "exit status 1"},
    "tool_timeout": {"tool": "vtl", "command": "verify", "seconds": 60},
    "internal": {"kind": "KeyError", "where": "plan.py:112"},
    "not_converged": {"count": 2, "step": f"edit {CONF}: HAConfiguration / HAOnly"},
    "record_damaged": {"path": "/var/lib/hsm-enrol/record.json"},
    "cannot_tell": {"path": CONF, "error": "EIO"},
    "cannot_write": {"path": f"{CLIENT}/web one.pem", "error": "EROFS"},
    "undo_damaged": {"path": "/var/lib/hsm-enrol/undo"},
    "undo_incomplete": {"count": 1, "path": CONF},
    "unsafe_file": {"path": CONF, "what": "a hard link, one of 2"},
    "unsafe_folder": {"path": CLIENT},
    "agent_busy": {},
    "clock_wrong": {"seconds": 31536000},
    "conf_stale": {"path": CONF},
    "imds_hop_limit": {"endpoint": "http://169.254.169.254"},
    "imds_odd": {"item": "meta-data/ami-id", "what": "out of form", "endpoint": "http://169.254.169.254"},
    "imds_throttled": {"status": 503, "seconds": 120},
    "imds_unreachable": {
        "endpoint": "http://169.254.169.254 or http://[fd00:ec2::254]",
        "error": "no connection in time",
    },
    "interrupted": {"signal": "SIGTERM"},
    "not_our_verifier": {"url": URL, "status": 200},
    "try_later": {"reason": "hold", "decision": DECISION},
    "verifier_unreachable": {"url": URL, "error": "Connection refused"},
    "verifier_untrusted": {
        "url": URL,
        "why": "self-signed certificate in certificate chain",
        "ca_file": "/etc/hsm-enrol/verifier-ca.pem",
    },
    "answer_rejected": {"rule": "A3", "what": "jti"},
    "answer_too_large": {"url": URL, "limit": 262144},
    "not_opened": {},
    "already_enrolled": {"decision": DECISION, "thumbprint": THUMBPRINT, "instance": INSTANCE},
    "imds_off": {"endpoint": "http://169.254.169.254"},
    "key_lost": {"path": f"{CLIENT}/web-1f0c5d9a7b21Key.pem"},
    "older_serial": {"got": 1795541299, "have": 1795543080},
    "pin_refused": {"pin_id": "pin-2026-11"},
    "refused": {"reason": "not_admitted", "decision": DECISION},
    "wrong_instance": {"imds": "i-0ffffffffffffffff", "dmi": INSTANCE},
    "bad_settings": {
        "path": "/etc/hsm-enrol/hsm-enrol.toml",
        "line": 3,
        "what": "unknown key audiance",
        "better": "did you mean audience?",
    },
    "ca_unusable": {"path": "/etc/hsm-enrol/verifier-ca.pem", "error": "no certificate in it"},
    "client_missing": {"path": CONF},
    "credentials_missing": {"pin": "file", "path": "/usr/bin/systemd-creds"},
    "kem_missing": {"kem": "mlkem768-x25519"},
    "not_root": {"command": "enrol"},
    "server_not_allowed": {"address": "198.51.100.7"},
    "settings_missing": {"path": "/etc/hsm-enrol/hsm-enrol.toml", "error": "No such file or directory"},
    "sts_unknown": {"region": "xx-test-1", "what": "region"},
}


def occurrence(kind: type[EnrolError]) -> EnrolError:
    """Give a fault as it happens."""
    return kind(**FACTS[kind.reason])


def on_a_terminal(error: EnrolError) -> str:
    """Give what a terminal of 80 columns shows, without colours."""
    heard = io.StringIO()
    Voice(stream=heard, terminal=Terminal(stream=heard)).fail(error)
    return heard.getvalue()


def in_json(error: EnrolError) -> str:
    """Give what --json prints."""
    with redirect_stdout(io.StringIO()) as told:
        show_json(error_as_json(error), status=error.status)
    return told.getvalue()


if __name__ == "__main__":
    for one in catalogue():
        (HERE / f"{one.reason}.txt").write_text(on_a_terminal(occurrence(one)))
        (HERE / f"{one.reason}.json").write_text(in_json(occurrence(one)))
