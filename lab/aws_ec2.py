"""Knows how to play EC2's DescribeInstances and IAM's profile look-ups: query protocol in, XML out, limits included.

Documented: the actions, the filter `instance-id` that returns what is visible, the error codes, the token bucket (100
tokens, 20 a second for reads). Made up: ids, and that one endpoint answers for both services.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from lab.machine import Machine

EC2_NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"
IAM_NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"
BUCKET, REFILL = 100.0, 20.0  # tokens, tokens a second: EC2 API guide, "Request throttling"


@dataclass(slots=True, kw_only=True)
class Record:
    """One instance as EC2 remembers it. Times in Unix seconds."""

    machine: Machine
    state: str = "running"
    launched: float = 0.0
    attached: float = 0.0
    visible_from: float = 0.0
    tags: dict[str, str] = field(default_factory=dict)
    vpc: str = "vpc-0123456789abcdef0"
    subnet: str = "subnet-0123456789abcdef0"
    public_ip: str | None = None
    interfaces_before: tuple[tuple[int, float], ...] = ()  # device index and attach time, listed before the first one
    http_tokens: str = "required"


@dataclass(slots=True, kw_only=True)
class ApiFaults:
    """Switches that can be turned while it runs."""

    throttle: int = 0  # so many calls end in RequestLimitExceeded
    bucket: bool = False  # the published quota is in force
    denied: set[str] = field(default_factory=set)  # actions that end in UnauthorizedOperation / AccessDenied
    fail: int = 0  # so many calls end in 500
    no_xml: int = 0  # so many calls end in what stands before AWS's servers when these are gone: 503 and plain words


class Api(ThreadingHTTPServer):
    """EC2 and IAM on one plain HTTP endpoint. `seen` counts calls by action."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        """Listen on loopback."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"
        self.records: dict[str, Record] = {}
        self.profiles: dict[str, set[str]] = {}  # role -> instance profile ARNs
        self.faults = ApiFaults()
        self.seen: Counter[str] = Counter()
        self.lock = threading.Lock()
        self._tokens, self._filled = BUCKET, time.monotonic()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="lab-ec2", daemon=True)

    def start(self) -> Self:
        """Serve from now on."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End."""
        self.shutdown()
        self._thread.join()
        self.server_close()

    def take_token(self) -> bool:
        """Draw from the token bucket; True when the call may go on."""
        with self.lock:
            if self.faults.throttle > 0:
                self.faults.throttle -= 1
                return False
            if not self.faults.bucket:
                return True
            now = time.monotonic()
            self._tokens = min(BUCKET, self._tokens + (now - self._filled) * REFILL)
            self._filled = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


class _Handler(BaseHTTPRequestHandler):
    server: Api
    protocol_version = "HTTP/1.1"
    timeout = 10
    disable_nagle_algorithm = True  # headers and body are two writes: the second must not wait for an ACK

    def do_POST(self) -> None:
        """Do one action."""
        raw = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        form = {key: values[0] for key, values in parse_qs(raw).items()}
        action = form.get("Action", "")
        self.server.seen[action] += 1
        ec2 = action.startswith("Describe")
        if self.server.faults.fail > 0:
            self.server.faults.fail -= 1
            self._error(500, "InternalError", ec2=ec2)
        elif self.server.faults.no_xml > 0:
            self.server.faults.no_xml -= 1
            self._send(503, "Service Unavailable", declaration="")
        elif not self.server.take_token():
            self._error(503, "RequestLimitExceeded" if ec2 else "Throttling", ec2=ec2)
        elif action in self.server.faults.denied:
            self._error(403, "UnauthorizedOperation" if ec2 else "AccessDenied", ec2=ec2)
        elif action == "DescribeInstances":
            self._describe(form)
        elif action == "ListInstanceProfilesForRole":
            self._profiles(form.get("RoleName", ""))
        elif action == "GetInstanceProfile":
            self._profile(form.get("InstanceProfileName", ""))
        else:
            self._error(400, "InvalidAction", ec2=ec2)

    def _describe(self, form: Mapping[str, str]) -> None:
        now = time.time()
        with self.server.lock:
            visible = {one: row for one, row in self.server.records.items() if row.visible_from <= now}
        named = [form[key] for key in sorted(form) if key.startswith("InstanceId.")]
        missing = [one for one in named if one not in visible]
        if missing:
            self._error(400, "InvalidInstanceID.NotFound", ec2=True)
            return
        wanted = set(named) or set(visible)
        for key, value in form.items():
            if key.startswith("Filter.") and key.endswith(".Name") and value == "instance-id":
                prefix = key.removesuffix("Name") + "Value."
                wanted &= {text for other, text in form.items() if other.startswith(prefix)}
        rows = "".join(_instance(visible[one]) for one in sorted(wanted & set(visible)))
        body = f"<requestId>lab</requestId><reservationSet>{rows}</reservationSet>"
        self._send(200, f'<DescribeInstancesResponse xmlns="{EC2_NAMESPACE}">{body}</DescribeInstancesResponse>')

    def _profiles(self, role: str) -> None:
        if role not in self.server.profiles:
            self._error(404, "NoSuchEntity", ec2=False)
            return
        members = "".join(f"<member>{_profile(arn, role)}</member>" for arn in sorted(self.server.profiles[role]))
        result = f"<InstanceProfiles>{members}</InstanceProfiles><IsTruncated>false</IsTruncated>"
        self._send(200, _iam("ListInstanceProfilesForRole", result))

    def _profile(self, name: str) -> None:
        for role, arns in self.server.profiles.items():
            for arn in arns:
                if arn.rpartition("/")[2] == name:
                    profile = f"<InstanceProfile>{_profile(arn, role)}</InstanceProfile>"
                    self._send(200, _iam("GetInstanceProfile", profile))
                    return
        self._error(404, "NoSuchEntity", ec2=False)

    def _error(self, status: int, code: str, *, ec2: bool) -> None:
        if ec2:
            error = f"<Errors><Error><Code>{code}</Code><Message>lab</Message></Error></Errors>"
            self._send(status, f"<Response>{error}<RequestID>lab</RequestID></Response>")
        else:
            error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>lab</Message></Error>"
            body = f"{error}<RequestId>lab</RequestId>"
            self._send(status, f'<ErrorResponse xmlns="{IAM_NAMESPACE}">{body}</ErrorResponse>')

    def _send(self, status: int, xml: str, *, declaration: str = '<?xml version="1.0" encoding="UTF-8"?>\n') -> None:
        body = f"{declaration}{xml}".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/xml;charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be quiet: `seen` counts."""


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _tags(pairs: Iterable[tuple[str, str | None]]) -> str:
    return "".join(f"<{name}>{escape(value)}</{name}>" for name, value in pairs if value is not None)


def _instance(row: Record) -> str:
    machine = row.machine
    tags = "".join(f"<item><key>{escape(k)}</key><value>{escape(v)}</value></item>" for k, v in row.tags.items())
    profile = f"<iamInstanceProfile><arn>{machine.profile_arn}</arn><id>AIPALAB</id></iamInstanceProfile>"
    inner = _tags(
        (
            ("instanceId", machine.instance_id),
            ("imageId", machine.image_id),
            ("privateDnsName", machine.local_hostname),
            ("dnsName", machine.public_hostname or ""),
            ("instanceType", machine.instance_type),
            ("launchTime", _iso(row.launched)),
            ("subnetId", row.subnet),
            ("vpcId", row.vpc),
            ("privateIpAddress", machine.local_ipv4),
            ("ipAddress", row.public_ip),
        )
    )
    nics = "".join(
        f"<item><networkInterfaceId>eni-0123456789abcdef{index:x}</networkInterfaceId><attachment>"
        f"<deviceIndex>{index}</deviceIndex><attachTime>{_iso(attached)}</attachTime></attachment></item>"
        for index, attached in (*row.interfaces_before, (0, row.attached))
    )
    nic = f"<networkInterfaceSet>{nics}</networkInterfaceSet>"
    code = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
    state = f"<instanceState><code>{code[row.state]}</code><name>{row.state}</name></instanceState>"
    options = f"<metadataOptions><httpTokens>{row.http_tokens}</httpTokens></metadataOptions>"
    return (
        f"<item><reservationId>{machine.reservation_id}</reservationId><ownerId>{machine.account_id}</ownerId>"
        f"<instancesSet><item>{inner}{state}{nic}{profile if machine.profile_arn else ''}"
        f"<tagSet>{tags}</tagSet>{options}</item></instancesSet></item>"
    )


def _profile(arn: str, role: str) -> str:
    account = arn.split(":")[4]
    inner = _tags(
        (("RoleName", role), ("Arn", f"arn:aws:iam::{account}:role/{role}"), ("RoleId", "AROALAB"), ("Path", "/"))
    )
    inner += "<CreateDate>2026-01-01T00:00:00Z</CreateDate>"
    return (
        f"<InstanceProfileName>{arn.rpartition('/')[2]}</InstanceProfileName><Arn>{arn}</Arn><Path>/</Path>"
        f"<InstanceProfileId>AIPALAB</InstanceProfileId><CreateDate>2026-01-01T00:00:00Z</CreateDate>"
        f"<Roles><member>{inner}</member></Roles>"
    )


def _iam(action: str, result: str) -> str:
    return (
        f'<{action}Response xmlns="{IAM_NAMESPACE}"><{action}Result>{result}</{action}Result>'
        f"<ResponseMetadata><RequestId>lab</RequestId></ResponseMetadata></{action}Response>"
    )
