"""The operators' page over HTTP: who gets in, what a form needs, what is done and audited, what answers carry."""

import contextlib
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import requests

from hsm_enrol.wire.bundle import Pin
from hsm_verifier.admin.headers import ALWAYS
from hsm_verifier.admin.listener import CONNECTIONS, EACH
from hsm_verifier.admin.place import Place
from hsm_verifier.admin.tokens import add_token
from hsm_verifier.chain import verify
from hsm_verifier.cli.common import open_store, open_vault
from hsm_verifier.durable import write_file
from hsm_verifier.ledger import desk
from hsm_verifier.ledger.fleet import Fleet
from hsm_verifier.refusal import Refusal
from hsm_verifier.settings import Settings, load_settings
from hsm_verifier.vault import VaultError
from lab.fleet import HOSTILE, HOSTILE_ERROR, HOSTILE_NAME, NOW, make_up
from lab.fleet_bundles import bundle_of
from lab.operators import Operators, at, running
from lab.pictures import new_folder
from tests.verifier.unix import fetch

UNKNOWN = "i-0123456789abcdef9"
TICKET = re.compile(r'name="ticket" value="([^"]+)"')


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = new_folder(tmp_path_factory.mktemp("vp") / "vp")
    store = open_store(made)
    make_up(made, store, open_vault(made), count=120)
    store.close()
    return made


@pytest.fixture(scope="module")
def local(settings: Settings) -> Iterator[Operators]:
    with running(at(settings, "127.0.0.1:0")) as operators:
        yield operators


@dataclass
class Tokened:
    operators: Operators
    act: str
    read: str


@pytest.fixture(scope="module")
def tokened(settings: Settings) -> Iterator[Tokened]:
    path = settings.path.parent / "secrets" / "admin-tokens"
    act, read = add_token(path, "alice", "act"), add_token(path, "prometheus", "read")
    with running(at(settings, "127.0.0.1:0", tokens=str(path))) as operators:
        yield Tokened(operators=operators, act=act, read=read)


class Browser(requests.Session):
    """A session that says where its forms come from, as browsers do, and follows nothing by itself."""

    def __init__(self, operators: Operators) -> None:
        super().__init__()
        self.trust_env = False
        self.base = operators.address.rstrip("/")
        self.headers["accept"] = "text/html"

    def look(self, path: str, **headers: str) -> requests.Response:
        return self.get(self.base + path, headers=headers, timeout=10, allow_redirects=False)

    def submit(self, path: str, origin: str | None = "", **form: str) -> requests.Response:
        headers = {} if origin is None else {"origin": origin or self.base}
        return self.post(self.base + path, data=form, headers=headers, timeout=10, allow_redirects=False)

    def ticket(self, path: str) -> str:
        reply = self.look(path)
        assert reply.status_code == 200, reply.text
        found = TICKET.search(reply.text)
        assert found is not None
        return found[1]


@pytest.fixture
def alice(local: Operators) -> Iterator[Browser]:
    with Browser(local) as made:
        yield made


def audit(settings: Settings) -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(settings.state.audit).read_text().splitlines()]


def state_of(operators: Operators, name: str) -> set[str]:
    return {one.state for one in Fleet(operators.store, {}, NOW).slots_of(name)}


def a_confirmed(operators: Operators) -> str:
    return next(one.instance_id for one in desk.list_slots(operators.store) if one.state == "CONFIRMED")


KEPT_IN = ("form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'")
PAGES = ("/", "/metrics", "/decisions", f"/instances/{HOSTILE}", "/nowhere", f"/instances/{HOSTILE}/grant", "/login")


@pytest.mark.parametrize("path", PAGES)
def test_every_answer_carries_the_protecting_headers_and_is_not_kept(alice: Browser, path: str) -> None:
    reply = alice.look(path)
    assert {name: reply.headers.get(name) for name in ALWAYS} == ALWAYS
    assert reply.headers["cache-control"] == "no-store"
    assert "server" not in reply.headers
    policy = set(reply.headers["content-security-policy"].split("; "))
    assert policy == {"default-src 'none'", "style-src 'self'", "img-src 'self'", *KEPT_IN}


def test_no_header_that_protects_is_left_out() -> None:
    assert {name: value for name, value in ALWAYS.items() if name != "content-security-policy"} == {
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
    }


class Tags(HTMLParser):
    """Every tag and attribute of a page, as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.found |= {f"@{name}" for name, _ in attrs}
        self.found |= {"javascript:" for _, value in attrs if (value or "").strip().lower().startswith("javascript:")}


@pytest.mark.parametrize(
    "path", [*PAGES, "/?q=document.title", f"/instances/{HOSTILE}/revoke", "/gates/pin-of-web/resume"]
)
def test_no_page_holds_a_script_a_style_or_a_handler(alice: Browser, path: str) -> None:
    found = Tags(alice.look(path).text).found
    assert not {one for one in found if one in {"script", "style", "@style", "iframe", "object", "javascript:"}}
    assert not {one for one in found if one.startswith("@on")}


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8444", "localhost.evil.example", "0.0.0.0", "127.0.0.1@evil.example", ""]
)
def test_a_host_that_is_not_ours_is_told_nothing(alice: Browser, host: str) -> None:
    reply = alice.look("/", host=host)
    assert reply.status_code == 421
    assert "i-0" not in reply.text


def test_the_sheet_may_be_kept_for_ever_because_its_name_changes_with_it(alice: Browser) -> None:
    found = re.search(r'href="(/static/[0-9a-f]{16}-admin.css)"', alice.look("/").text)
    assert found is not None
    reply = alice.look(found[1])
    assert (reply.status_code, "immutable" in reply.headers["cache-control"]) == (200, True)
    assert reply.headers["content-type"].startswith("text/css")
    assert alice.look("/static/0000000000000000-admin.css").status_code == 404
    assert alice.look("/static/../office.py").status_code == 404


def test_a_user_who_was_not_named_sees_nothing(local: Operators, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsm_verifier.admin.who.may_always", lambda: frozenset({4_000_000_000}))
    with running(local.settings) as operators, Browser(operators) as stranger:
        for path in ("/", "/metrics", "/decisions", f"/instances/{HOSTILE}/grant"):
            reply = stranger.look(path)
            assert reply.status_code == 403
            assert "i-0" not in reply.text
        assert stranger.submit(f"/instances/{HOSTILE}/revoke", reason="r").status_code == 403
    assert "REVOKED" not in state_of(local, HOSTILE)


def test_a_grant_is_asked_back_done_once_and_audited_with_who(
    alice: Browser, local: Operators, settings: Settings
) -> None:
    path = f"/instances/{UNKNOWN}/grant"
    form = {"count": "2", "until": "4h", "owner": "", "reason": "rebuilt <b>"}
    ticket = alice.ticket(path)
    reply = alice.submit(path, ticket=ticket, **form)
    assert (reply.status_code, reply.headers["location"]) == (303, f"/instances/{UNKNOWN}")
    (grant,) = Fleet(local.store, {}, NOW).grants_of(UNKNOWN)
    assert (grant.remaining, grant.reason, grant.owner) == (2, "rebuilt <b>", None)
    assert 4 * 3600 - 60 < grant.until - grant.made_at <= 4 * 3600 + 1
    (line,) = [one for one in audit(settings) if one["event"] == "grant" and one["instance"] == UNKNOWN]
    assert str(line["by"]).startswith("uid ")
    assert (line["via"], line["why"], line["count"]) == ("page", "rebuilt <b>", 2)
    page = alice.look(f"/instances/{UNKNOWN}").text
    assert "may be served 2 more time(s) until" in page
    assert "rebuilt &lt;b&gt;" in page
    assert alice.submit(path, ticket=ticket, **form).status_code == 403
    assert len(Fleet(local.store, {}, NOW).grants_of(UNKNOWN)) == 1
    assert "may be served 2 more" not in alice.look(f"/instances/{UNKNOWN}").text
    verify(Path(settings.state.audit))


@pytest.mark.parametrize(
    "changes",
    [
        {"count": "0"},
        {"count": "101"},
        {"count": "-1"},
        {"count": "x"},
        {"until": "25h"},
        {"until": ""},
        {"owner": "short"},
        {"owner": "=" * 43},
        {"reason": ""},
        {"reason": " "},
        {"reason": "x" * 201},
        {"reason": "two\nlines"},
        {"reason": "\x1b[2J"},
    ],
)
def test_a_grant_out_of_bounds_is_asked_back_again_and_not_made(
    alice: Browser, local: Operators, changes: dict[str, str]
) -> None:
    name = "i-0123456789abcdef8"
    path = f"/instances/{name}/grant"
    form = {"count": "1", "until": "1h", "owner": "", "reason": "why"} | changes
    reply = alice.submit(path, ticket=alice.ticket(path), **form)
    assert (reply.status_code, 'role="alert"' in reply.text) == (400, True)
    assert Fleet(local.store, {}, NOW).grants_of(name) == ()
    found = TICKET.search(reply.text)
    assert found is not None
    fixed = alice.submit(path, ticket=found[1], count="1", until="15min", owner="", reason="why")
    assert fixed.status_code == 303
    with local.store.deciding() as tx:
        tx.exec_driver_sql("DELETE FROM grants WHERE instance_id = 'i-0123456789abcdef8'")


def test_the_key_that_was_refused_last_is_offered(alice: Browser, settings: Settings) -> None:
    refused = next(one for one in audit(settings) if one.get("reason") == "already_enrolled")
    assert f'value="{refused["owner"]}"' in alice.look(f"/instances/{refused['instance']}/grant").text


def test_a_revocation_is_asked_back_and_ends_the_instance(alice: Browser, local: Operators, settings: Settings) -> None:
    name = a_confirmed(local)
    path = f"/instances/{name}/revoke"
    assert alice.submit(path, ticket=alice.ticket(path), reason="").status_code == 400
    assert state_of(local, name) == {"CONFIRMED"}
    assert alice.submit(path, ticket=alice.ticket(path), reason="stolen").status_code == 303
    assert state_of(local, name) == {"REVOKED"}
    assert "is revoked" in alice.look(f"/instances/{name}").text
    reply = alice.submit(path, ticket=alice.ticket(path), reason="stolen")
    assert (reply.status_code, "no slot that is not revoked" in reply.text) == (400, True)
    lines = [one for one in audit(settings) if one["event"] == "revoke"]
    assert [(one["instance"], one["why"], one["slots"]) for one in lines] == [(name, "stolen", 1)]


def test_grants_are_withdrawn_and_only_where_some_are_open(
    alice: Browser, local: Operators, settings: Settings
) -> None:
    name = "i-0123456789abcdef6"
    path = f"/instances/{name}/withdraw"
    for count in (1, 2):
        desk.make_grant(local.store, name, count=count, seconds=3600, reason="a typing error", owner=None)
    assert path in alice.look(f"/instances/{name}").text
    assert "2 grants are open" in alice.look(path).text
    assert alice.submit(path, ticket=alice.ticket(path), reason="").status_code == 400
    assert desk.open_grants(local.store, name) == 2
    assert alice.submit(path, ticket=alice.ticket(path), reason="wrong host").status_code == 303
    assert desk.open_grants(local.store, name) == 0
    page = alice.look(f"/instances/{name}").text
    assert "2 grant(s) of" in page
    assert path not in page
    reply = alice.submit(path, ticket=alice.ticket(path), reason="wrong host")
    assert (reply.status_code, "no grant that is open" in reply.text) == (400, True)
    (line,) = [one for one in audit(settings) if one["event"] == "grant_withdrawn"]
    assert (line["instance"], line["why"], line["grants"], line["via"]) == (name, "wrong host", 2, "page")
    with local.store.deciding() as tx:
        tx.exec_driver_sql(f"DELETE FROM grants WHERE instance_id = '{name}'")


def test_an_open_grant_behind_a_page_of_ended_ones_can_still_be_withdrawn(alice: Browser, local: Operators) -> None:
    name = "i-0123456789abcdef5"
    for _ in range(21):
        desk.make_grant(local.store, name, count=1, seconds=3600, reason="again and again", owner=None)
    with local.store.deciding() as tx:  # all but the first have ended, whatever the clock shows
        newer = f"id > (SELECT min(id) FROM grants WHERE instance_id = '{name}')"
        tx.exec_driver_sql(f"UPDATE grants SET until = made_at WHERE instance_id = '{name}' AND {newer}")
    assert desk.open_grants(local.store, name) == 1
    assert f"/instances/{name}/withdraw" in alice.look(f"/instances/{name}").text
    assert desk.withdraw(local.store, name) == 1
    assert f"/instances/{name}/withdraw" not in alice.look(f"/instances/{name}").text
    with local.store.deciding() as tx:
        tx.exec_driver_sql(f"DELETE FROM grants WHERE instance_id = '{name}'")


def test_a_halted_pin_is_resumed(alice: Browser, local: Operators, settings: Settings) -> None:
    path = "/gates/pin-of-batch/resume"
    assert "HALTED" in alice.look(path).text
    assert alice.submit(path, ticket=alice.ticket(path), reason="PIN corrected").status_code == 303
    gates = {one.pin_id: (one.state, one.tries) for one in desk.list_gates(local.store)}
    assert gates["pin-of-batch"] == ("UNPROVEN", 0)
    assert alice.submit(path, ticket=alice.ticket(path), reason="again").status_code == 400
    (line,) = [one for one in audit(settings) if one["event"] == "bundle_resume"]
    assert (line["pin_id"], line["why"], line["via"]) == ("pin-of-batch", "PIN corrected", "page")
    assert alice.look("/gates/x/resume").status_code == 404


FORGERIES = (
    # what a page of somebody else's can make a browser send
    ("no ticket", None, ""),
    ("a guessed ticket", "A" * 32, ""),
    ("no Origin", "ours", None),
    ("another Origin", "ours", "http://evil.example"),
    ("Origin null", "ours", "null"),
    ("another port's Origin", "ours", "http://127.0.0.1:1"),
)


@pytest.mark.parametrize(("what", "ticket", "origin"), FORGERIES, ids=[one[0] for one in FORGERIES])
def test_a_form_that_is_not_ours_does_nothing(
    alice: Browser, local: Operators, what: str, ticket: str | None, origin: str | None
) -> None:
    path = f"/instances/{HOSTILE}/revoke"
    ours = alice.ticket(path)
    form = {} if ticket is None else {"ticket": ours if ticket == "ours" else ticket}
    reply = alice.submit(path, origin, reason="forged", **form)
    assert reply.status_code == 403
    assert state_of(local, HOSTILE) == {"TAKEN"}


def test_a_ticket_of_another_browser_or_another_form_does_nothing(alice: Browser, local: Operators) -> None:
    path = f"/instances/{HOSTILE}/revoke"
    with Browser(local) as mallory:
        stolen = mallory.ticket(path)
    alice.ticket(path)
    assert alice.submit(path, ticket=stolen, reason="r").status_code == 403
    assert alice.submit(path, ticket=alice.ticket(f"/instances/{HOSTILE}/grant"), reason="r").status_code == 403
    reply = alice.post(
        alice.base + path,
        data={"ticket": alice.ticket(path), "reason": "r"},
        headers={"origin": alice.base, "sec-fetch-site": "cross-site"},
        timeout=10,
    )
    assert reply.status_code == 403
    assert state_of(local, HOSTILE) == {"TAKEN"}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain", b"ticket=x&reason=y"),
        ("application/json", b"{}"),
        ("application/x-www-form-urlencoded", b"reason=" + b"x" * 5000),
        ("application/x-www-form-urlencoded", b"&".join(b"a=1" for _ in range(30))),
        ("application/x-www-form-urlencoded", b"\xff\xfe"),
    ],
)
def test_a_body_that_is_no_small_form_does_nothing(alice: Browser, local: Operators, kind: str, body: bytes) -> None:
    path = f"/instances/{HOSTILE}/revoke"
    alice.ticket(path)
    headers = {"origin": alice.base, "content-type": kind}
    assert alice.post(alice.base + path, data=body, headers=headers, timeout=10).status_code == 403
    assert state_of(local, HOSTILE) == {"TAKEN"}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_do_nothing(alice: Browser, method: str) -> None:
    assert alice.request(method, f"{alice.base}/instances/{HOSTILE}/revoke", timeout=10).status_code == 405


def test_reading_by_get_changes_nothing(alice: Browser, local: Operators, settings: Settings) -> None:
    before = Path(settings.state.audit).read_bytes()
    assert alice.look(f"/instances/{HOSTILE}/revoke?ticket=x&reason=y").status_code == 200
    assert Path(settings.state.audit).read_bytes() == before
    assert state_of(local, HOSTILE) == {"TAKEN"}


@pytest.mark.parametrize(
    "path", ["/", "/metrics", "/decisions", f"/instances/{HOSTILE}", f"/instances/{HOSTILE}/grant"]
)
def test_without_a_token_nothing_is_shown_and_browsers_are_sent_to_sign_in(tokened: Tokened, path: str) -> None:
    with Browser(tokened.operators) as stranger:
        reply = stranger.look(path)
        assert (reply.status_code, reply.headers["location"], reply.text) == (303, "/login", "")
        for header in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {tokened.act}"}):
            plain = stranger.look(path, accept="*/*", **header)
            assert (plain.status_code, plain.headers["www-authenticate"]) == (401, 'Bearer realm="hsm-verifier"')
            assert "i-0" not in plain.text


def test_a_bearer_token_reads_and_does_not_act(tokened: Tokened, local: Operators) -> None:
    with Browser(tokened.operators) as script:
        script.headers["authorization"] = f"Bearer {tokened.act}"
        assert "hsm_verifier_slots" in script.look("/metrics").text
        assert script.look(f"/instances/{HOSTILE}/revoke").status_code == 403
        assert script.submit(f"/instances/{HOSTILE}/revoke", reason="r").status_code == 403
    assert state_of(local, HOSTILE) == {"TAKEN"}


def test_signing_in_gives_a_cookie_that_scripts_and_other_sites_do_not_get(tokened: Tokened) -> None:
    with Browser(tokened.operators) as alice:
        reply = alice.submit("/login", token=tokened.act)
        assert (reply.status_code, reply.headers["location"]) == (303, "/")
        cookie = reply.headers["set-cookie"]
        assert cookie.startswith("hsm-admin=")
        for word in ("HttpOnly", "SameSite=strict", "Path=/"):
            assert word.lower() in cookie.lower()
        assert tokened.act not in cookie
        assert "token alice" in alice.look("/").text
        path = f"/instances/{UNKNOWN}/grant"
        form = {"count": "1", "until": "1h", "owner": "", "reason": "by token"}
        assert alice.submit(path, ticket=alice.ticket(path), **form).status_code == 303
        line = audit(tokened.operators.settings)[-1]
        assert (line["event"], line["by"]) == ("grant", "token alice")
        assert alice.submit("/logout", "http://evil.example").status_code == 403
        assert alice.look("/").status_code == 200
        assert alice.submit("/logout").status_code == 303
        assert alice.look("/").status_code == 303
        kept = cookie.partition(";")[0]  # by whoever copied it out of the browser
        assert alice.look("/", cookie=kept).status_code == 303


def test_a_reading_token_is_shown_no_acts_and_may_do_none(tokened: Tokened, local: Operators) -> None:
    with Browser(tokened.operators) as reader:
        assert reader.submit("/login", token=tokened.read).status_code == 303
        page = reader.look(f"/instances/{HOSTILE}").text
        assert "reading only" in page
        assert "/revoke" not in page
        assert reader.look(f"/instances/{HOSTILE}/revoke").status_code == 403
        assert reader.submit(f"/instances/{HOSTILE}/revoke", reason="r", ticket="x").status_code == 403
    assert state_of(local, HOSTILE) == {"TAKEN"}


def test_a_wrong_token_is_refused_audited_and_not_repeated(tokened: Tokened, settings: Settings) -> None:
    with Browser(tokened.operators) as stranger:
        reply = stranger.submit("/login", token="CANARY-guess")
        assert (reply.status_code, "set-cookie" in reply.headers) == (401, False)
        assert "CANARY" not in reply.text
        assert (audit(settings)[-1]["event"], audit(settings)[-1]["alarm"]) == ("admin_login_refused", True)
        assert "CANARY" not in Path(settings.state.audit).read_text()
        assert stranger.submit("/login", "http://evil.example", token=tokened.act).status_code == 403
        tries = [stranger.submit("/login", token="x").status_code for _ in range(12)]
        assert tries[-1] == 429
        noted = len(audit(settings))
        assert stranger.submit("/login", token="x").status_code == 429
        assert len(audit(settings)) == noted
    assert tokened.operators.counts.now().alarms >= 1
    with Browser(tokened.operators) as alice:  # whom a stranger's guesses do not keep out
        assert alice.submit("/login", token=tokened.act).status_code == 303
        assert alice.look("/").status_code == 200


@pytest.mark.parametrize("fault", ["chmod", "garbled", "gone"])
def test_a_token_file_that_cannot_be_used_lets_nobody_in_and_is_named(
    settings: Settings, tmp_path: Path, fault: str
) -> None:
    path = tmp_path / "tokens"
    token = add_token(path, "alice", "act")
    with running(at(settings, "127.0.0.1:0", tokens=str(path))) as operators, Browser(operators) as alice:
        assert alice.submit("/login", token=token).status_code == 303
        assert alice.look("/").status_code == 200
        if fault == "gone":
            path.unlink()
        elif fault == "garbled":
            path.write_text("alice act CANARY-plain-token\n")
        else:
            write_file(path, path.read_bytes(), mode=0o644, replace=True)
        for reply in (alice.look("/"), alice.look("/metrics"), alice.submit("/login", token=token)):
            assert reply.status_code == 503
            assert "admin.tokens" in reply.text
            assert "CANARY" not in reply.text


def test_a_stranger_who_holds_all_connections_that_it_gets_keeps_no_operator_out(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Place, "local", property(lambda _: False))
    path = tmp_path / "tokens"
    token = add_token(path, "alice", "act")
    with running(at(settings, "127.0.0.1:0", tokens=str(path))) as operators, contextlib.ExitStack() as held:
        address = ("127.0.0.1", int(operators.address.rstrip("/").rpartition(":")[2]))
        strangers = [socket.create_connection(address, 10, ("127.0.0.2", 0)) for _ in range(CONNECTIONS)]
        for one in strangers:
            held.enter_context(one)
            with contextlib.suppress(OSError):
                one.sendall(b"GET /login HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert sum(map(is_answered, strangers)) == EACH
        with Browser(operators) as alice:
            assert alice.submit("/login", token=token).status_code == 303
            assert alice.look("/").status_code == 200


def is_answered(one: socket.socket) -> bool:
    try:
        return one.recv(12) == b"HTTP/1.1 200"
    except OSError:
        return False


def test_over_tls_the_cookie_is_for_this_host_and_for_tls_only(settings: Settings) -> None:
    path = settings.path.parent / "secrets" / "tls-tokens"
    token = add_token(path, "alice", "act")
    folder = settings.path.parent
    admin = replace(
        at(settings, "127.0.0.1:0", tokens=str(path)).admin,
        tls_certificate=str(folder / "tls.pem"),
        tls_key=str(folder / "secrets" / "tls.key"),
    )
    with running(replace(settings, admin=admin)) as operators, Browser(operators) as alice:
        assert operators.address.startswith("https://")
        alice.verify = str(folder / "verifier-ca.pem")
        cookie = alice.submit("/login", token=token).headers["set-cookie"]
        assert cookie.startswith("__Host-hsm-admin=")
        assert "secure" in cookie.lower()
        assert alice.look("/").status_code == 200
        assert alice.submit("/login", alice.base.replace("https", "http"), token=token).status_code == 403


def test_a_unix_socket_serves_its_owner(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("u") / "admin.sock"
    with running(at(settings, f"unix:{path}")) as operators:
        assert operators.address == f"unix:{path}"
        status, text = fetch(path, "/metrics")
        assert (status, "hsm_verifier_slots" in text) == (200, True)
    assert not path.exists()


@pytest.mark.parametrize(
    ("query", "shown", "hidden"),
    [
        ("?q=" + HOSTILE[5:12], HOSTILE, None),
        ("?q=document.title", HOSTILE, None),
        ("?state=REVOKED", "REVOKED</span>", HOSTILE),
        ("?q=%27%20OR%201=1", "No instance is like that", HOSTILE),
        ("?page=999999", "of 121 instances", None),
        ("?page=-1", "1-50 of 121 instances", None),
        ("?page=2", "51-100 of 121 instances", None),
        ("?state=nonsense&span=nonsense", "of 121 instances", None),
    ],
)
def test_search_and_pages(alice: Browser, query: str, shown: str, hidden: str | None) -> None:
    reply = alice.look("/" + query)
    assert reply.status_code == 200
    table = reply.text.split('id="instances"')[1].split('id="refused"')[0].replace("\u2013", "-")
    assert shown in table
    assert hidden is None or hidden not in table


def test_hostile_names_and_errors_are_shown_as_the_text_they_are(alice: Browser) -> None:
    for path in ("/", f"/instances/{HOSTILE}", "/decisions", "/?q=document.title"):
        text = alice.look(path).text
        assert "<script" not in text
        assert "<svg/onload" not in text
        assert "<img src=x" not in text
        assert "&lt;script&gt;" in text
        assert not any(char in text for char in "\x1b\x07\u202e")
    assert '"><script>' in HOSTILE_NAME
    assert "\\x1b[2J" in alice.look(f"/instances/{HOSTILE}").text
    assert HOSTILE_ERROR.startswith("</td>")


def test_a_decision_id_that_an_instance_printed_is_found(alice: Browser, settings: Settings) -> None:
    line = next(one for one in audit(settings) if one.get("reason") == "clock_skew")
    text = alice.look(f"/decisions?q={line['decision']}").text
    assert text.count("/instances/i-0") == 1
    assert str(line["instance"]) in text
    whole = alice.look(f"/decisions/{line['decision']}").text
    assert "V4 amz_date" in whole
    assert alice.look("/decisions/000000000000").status_code == 404
    assert alice.look("/decisions?only=alarms").text.count('class="flag bad">alarm') == sum(
        one.get("alarm") is True for one in audit(settings)
    )


def test_an_instance_that_nobody_knows_is_404(alice: Browser) -> None:
    assert alice.look("/instances/i-0000000000000dead").status_code == 404
    assert alice.look("/instances/..%2f..%2fetc").status_code == 404
    assert alice.look("/instances/<script>").status_code == 404


def test_when_the_ledger_cannot_be_read_the_page_says_so_without_a_stack(
    alice: Browser, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> object:
        raise OSError("CANARY")

    monkeypatch.setattr("hsm_verifier.admin.pages.desk.list_gates", broken)
    reply = alice.look("/")
    assert (reply.status_code, "cannot be read: OSError" in reply.text) == (503, True)
    assert "CANARY" not in reply.text
    assert "Traceback" not in reply.text


def test_a_ledger_that_is_away_is_named_as_the_audit_and_the_manual_name_it(
    alice: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> object:
        raise Refusal("busy", "V15 ledger_unavailable", status=503, alarm=True)

    monkeypatch.setattr("hsm_verifier.ledger.store.Store.reading", away)
    reply = alice.look("/")
    assert (reply.status_code, "cannot be read: V15 ledger_unavailable" in reply.text) == (503, True)


@pytest.mark.parametrize(
    ("away", "told"),
    [
        ("hsm_verifier.ledger.store.Store.reading", {"bundle_serial"}),
        ("hsm_verifier.vault.Vault.serials", {"ledger_open", "slots_overdue"}),
    ],
)
def test_while_ledger_or_bundles_are_away_metrics_tell_the_rest_and_above_all_alarms(
    alice: Browser, monkeypatch: pytest.MonkeyPatch, away: str, told: set[str]
) -> None:
    def broken(*_: object) -> object:
        raise OSError("CANARY")

    whole = {line.split(" ")[0].split("{")[0] for line in alice.look("/metrics").text.splitlines() if line[0] != "#"}
    monkeypatch.setattr(away, broken)
    reply = alice.look("/metrics")
    assert reply.status_code == 200
    left = {line.split(" ")[0].split("{")[0] for line in reply.text.splitlines() if line[0] != "#"}
    names = {"bundle_serial", "gates", "ledger_open", "slots", "slots_overdue"}
    assert {name for name in names if f"hsm_verifier_{name}" in left} == told
    assert {f"hsm_verifier_{name}" for name in names} < whole
    assert "hsm_verifier_audit_alarms_total" in left


def test_what_wants_attention_is_said_first(alice: Browser, local: Operators) -> None:
    local.store.set_mode("operator")
    text = alice.look("/").text
    local.store.set_mode("open")
    notices = text.split('class="tiles"')[0]
    assert "Operator mode" in notices
    assert "The client certificate of group batch ends in 19 d" in notices
    assert "took a bundle more than 7 days ago" in notices
    assert "alarm" in notices
    assert "Operator mode" not in alice.look("/").text


GROUP = 'accounts = ["111122223333"]\nregions = ["eu-central-1"]\n'


def test_groups_that_share_a_bundle_want_none_of_their_own(settings: Settings, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    shared = f'[groups.cache]\nbundle = "web"\nrelease_gate = false\n{GROUP}[groups.shop]\nbundle = "shop-2"\n{GROUP}'
    policy.write_text(f"[groups.web]\n{GROUP}{shared}")
    other = replace(settings, state=replace(settings.state, policy=str(policy)))
    with running(at(other, "127.0.0.1:0")) as operators, Browser(operators) as alice:
        text = alice.look("/").text
    assert [name for name in ("web", "cache", "shop", "shop-2") if f"published for group {name}<" in text] == ["shop-2"]
    assert "off by policy" not in text
    assert "<option>cache</option>" not in text


def test_a_group_that_was_given_up_is_warned_of_no_more(settings: Settings, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(f"[groups.web]\n{GROUP}[groups.signing]\n{GROUP}")
    other = replace(settings, state=replace(settings.state, policy=str(policy)))
    with running(at(other, "127.0.0.1:0")) as operators, Browser(operators) as alice:
        text, told = alice.look("/").text, alice.look("/metrics").text
    assert "of group batch" not in text.split('class="tiles"')[0]
    assert text.count("no group of the policy gets it") == 1
    assert 'expiry_seconds{group="web"' in told
    assert 'group="batch"' not in told


def test_the_halted_gate_of_a_pin_that_was_replaced_asks_for_nobody(tmp_path: Path) -> None:
    made = new_folder(tmp_path / "vp")
    store, vault = open_store(made), open_vault(made)
    make_up(made, store, vault, count=10)
    store.close()
    halted = 'hsm_verifier_gates{state="HALTED"}'
    with running(at(made, "127.0.0.1:0")) as operators, Browser(operators) as alice:
        assert "PIN of group batch was refused" in alice.look("/").text
        assert f"{halted} 1" in alice.look("/metrics").text
        corrected = replace(bundle_of("batch", NOW, NOW + 9e6), pin=Pin(id="pin-corrected", value="not-a-real-pin"))
        vault.put("batch", corrected, NOW)
        assert "was refused" not in alice.look("/").text.split('class="tiles"')[0]
        assert f"{halted} 0" in alice.look("/metrics").text


def test_a_bundle_that_does_not_open_takes_neither_page_nor_metrics_away(tmp_path: Path) -> None:
    made = new_folder(tmp_path / "vp")
    store = open_store(made)
    make_up(made, store, open_vault(made), count=10)
    store.close()
    with running(at(made, "127.0.0.1:0")) as operators, Browser(operators) as alice:
        assert 'hsm_verifier_bundle_broken{group="batch"} 0' in alice.look("/metrics").text
        newest = max((Path(made.state.bundles) / "batch").glob("*.sealed"))
        newest.write_bytes(b"x" * 100)
        assert 'hsm_verifier_bundle_broken{group="batch"} 1' in alice.look("/metrics").text  # though it opened once
    with running(at(made, "127.0.0.1:0")) as operators, Browser(operators) as alice:
        told, page = alice.look("/metrics"), alice.look("/")
        assert (told.status_code, page.status_code) == (200, 200)
        assert 'hsm_verifier_bundle_broken{group="batch"} 1' in told.text
        assert 'hsm_verifier_bundle_broken{group="web"} 0' in told.text
        assert 'hsm_verifier_bundle_serial{group="web"}' in told.text
        assert 'hsm_verifier_bundle_serial{group="batch"}' not in told.text
        first = page.text.split('class="tiles"')[0]
        assert f"The bundle of group batch cannot be used: bundle batch {newest.stem} does not open" in first
        assert "published for group batch" not in first


def test_a_store_that_is_away_is_no_broken_bundle(
    alice: Browser, local: Operators, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> object:
        raise VaultError("OpenBao: unreachable", again_in=5.0)

    monkeypatch.setattr(local.vault, "current", away)
    reply = alice.look("/")
    assert (reply.status_code, "cannot be read: OpenBao: unreachable" in reply.text) == (503, True)
    metrics = alice.look("/metrics")
    assert (metrics.status_code, "hsm_verifier_bundle_broken{" in metrics.text) == (200, False)


def test_settings_of_the_page_are_read_from_the_file(settings: Settings) -> None:
    text = settings.path.read_text()
    assert load_settings(settings.path).admin.listen == "unix:admin.sock"
    settings.path.write_text(text.replace('listen = "unix:admin.sock"', 'listen = ""\nmay_akt = ["x"]'))
    with pytest.raises(Exception, match=r"admin\.may_akt: unknown key; did you mean may_act\?"):
        load_settings(settings.path)
    settings.path.write_text(text)
