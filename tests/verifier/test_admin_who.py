"""Who may see and who may act: the kernel's word about the other end, tokens, sessions, forms, names of this place."""

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsm_verifier.admin import peers
from hsm_verifier.admin.headers import is_ours
from hsm_verifier.admin.peers import uid_of_peer
from hsm_verifier.admin.place import Place, place_of, users
from hsm_verifier.admin.sessions import LIFE, REMEMBERED, TICKETS, Sessions
from hsm_verifier.admin.tokens import Caller, TokenError, Tokens, add_token, read_tokens, remove_token
from hsm_verifier.admin.who import Papers, Porter
from hsm_verifier.settings import AdminSettings, ServerSettings, Settings, SettingsError, StateSettings
from hsm_verifier.settings import AwsSettings as Aws

ALICE = Caller(name="token alice", may_act=True)
OTHER = 65534 if os.geteuid() == 0 else os.geteuid()  # only root can run a process as somebody else
CONNECT = """
import os, socket, sys
os.setuid(int(sys.argv[-1]))  # where it stands it may stay: a folder on the way here is its maker's alone
sock = socket.socket(getattr(socket, sys.argv[1]))
sock.connect(sys.argv[2] if sys.argv[1] == "AF_UNIX" else (sys.argv[2], int(sys.argv[3])))
print("connected", flush=True)
sys.stdin.read()
"""


def listening(family: socket.AddressFamily, address: object) -> socket.socket:
    made = socket.socket(family)
    made.bind(address)  # type: ignore[arg-type]
    made.listen()
    made.settimeout(10)
    return made


@pytest.mark.parametrize(
    ("family", "host"), [("AF_INET", "127.0.0.1"), ("AF_INET6", "::1"), ("mapped", "::ffff:127.0.0.1")]
)
def test_the_kernel_names_the_user_at_the_other_end_of_loopback(family: str, host: str) -> None:
    ours, theirs = {"mapped": ("AF_INET", "AF_INET6")}.get(family, (family, family))
    with listening(getattr(socket, ours), ("::1" if family == "AF_INET6" else "127.0.0.1", 0)) as server:
        words = [sys.executable, "-I", "-c", CONNECT, theirs, host, str(server.getsockname()[1]), str(OTHER)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
            taken, _ = server.accept()
            with taken:
                assert uid_of_peer(taken) == OTHER
            client.communicate(timeout=10)


def test_the_kernel_names_the_user_at_the_other_end_of_a_unix_socket(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("s")
    folder.chmod(0o711)
    with listening(socket.AF_UNIX, str(folder / "s")) as server:
        (folder / "s").chmod(0o666)
        words = [sys.executable, "-I", "-c", CONNECT, "AF_UNIX", "s", str(OTHER)]
        with subprocess.Popen(words, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
            taken, _ = server.accept()
            with taken:
                assert uid_of_peer(taken) == OTHER
            client.communicate(timeout=10)


def test_whoever_hangs_up_early_is_nobody_and_not_root() -> None:
    """The kernel shows a socket that its owner closed with user 0."""
    with listening(socket.AF_INET, ("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            taken, _ = server.accept()
        with taken:
            assert uid_of_peer(taken) is None


def test_a_line_that_is_not_established_or_owned_is_nobodys(tmp_path: Path) -> None:
    with (
        listening(socket.AF_INET, ("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
        server.accept()[0] as taken,
    ):
        theirs, ours = client.getsockname()[1], server.getsockname()[1]
        for state, inode, found in (("01", "77", 1234), ("05", "77", None), ("01", "0", None), ("06", "0", None)):
            line = f"   0: 0100007F:{theirs:04X} 0100007F:{ours:04X} {state} 0:0 00:0 0  1234        0 {inode} 1 0 0\n"
            (tmp_path / "tcp").write_text("heading\n" + line)
            assert uid_of_peer(taken, tmp_path) == found


def test_in_a_user_namespace_only_mapped_users_can_be_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "USER_MAP", tmp_path / "uid_map")
    (tmp_path / "uid_map").write_text("         0          0          1\n       998        998          1\n")
    assert [peers.is_seen_here(uid) for uid in (0, 998, 997, 1000)] == [True, True, False, False]
    with pytest.raises(SettingsError, match=r"admin\.may_act: 1000 looks like nobody from in here"):
        users(("1000",), "admin.may_act")


def test_a_user_that_does_not_exist_is_a_fault_of_the_settings() -> None:
    assert users(("root",), "admin.may_act") == {0}
    with pytest.raises(SettingsError, match=r"admin\.may_read: there is no user 'nosuchuser'"):
        users(("nosuchuser",), "admin.may_read")


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    return tmp_path / "admin-tokens"


def test_a_token_is_told_once_and_only_its_hash_is_kept(tokens: Path) -> None:
    token = add_token(tokens, "alice", "act")
    assert token.startswith("hsm-admin-")
    assert token not in tokens.read_text()
    assert tokens.stat().st_mode & 0o777 == 0o600
    assert Tokens(tokens).find(token) == ALICE
    assert Tokens(tokens).find(token[:-1]) is None
    assert Tokens(tokens).find("") is None
    with pytest.raises(TokenError, match="alice has a token"):
        add_token(tokens, "alice", "read")


def test_a_token_taken_out_of_the_file_ends_its_owners_session(tokens: Path) -> None:
    kept, gone = add_token(tokens, "bob", "read"), add_token(tokens, "alice", "act")
    file = Tokens(tokens)
    alice = file.find(gone)
    assert alice is not None
    assert file.still_knows(alice)
    assert remove_token(tokens, "alice")
    assert not remove_token(tokens, "alice")
    assert file.find(gone) is None
    assert not file.still_knows(alice)
    assert file.find(kept) == Caller(name="token bob", may_act=False)


def test_of_many_who_change_the_file_at_once_none_undoes_what_another_did(tokens: Path) -> None:
    for number in range(8):
        add_token(tokens, f"old-{number}", "act")
    with ThreadPoolExecutor(16) as pool:
        added = [pool.submit(add_token, tokens, f"new-{number}", "act") for number in range(8)]
        removed = [pool.submit(remove_token, tokens, f"old-{number}") for number in range(8)]
        assert all(one.result(20) for one in added)
        assert all(one.result(20) for one in removed)
    assert {name for name, _, _ in read_tokens(tokens)} == {f"new-{number}" for number in range(8)}


def test_a_token_file_that_others_may_read_or_that_is_garbled_is_refused(tokens: Path) -> None:
    add_token(tokens, "alice", "act")
    tokens.chmod(0o640)
    with pytest.raises(PermissionError, match="chmod 600"):
        Tokens(tokens)
    tokens.chmod(0o600)
    tokens.write_text("# ours\n\nalice act CANARY-plain-token\n")
    with pytest.raises(TokenError, match="line 3 is not NAME") as told:
        read_tokens(tokens)
    assert "CANARY" not in str(told.value)


@pytest.mark.parametrize("name", ["", "two words", "a\nroot act", "x" * 65, "-x"])
def test_a_name_that_would_break_the_file_is_no_name(tokens: Path, name: str) -> None:
    with pytest.raises(TokenError):
        add_token(tokens, name, "act")
    assert not tokens.exists()


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_session_is_over_after_a_shift_and_at_sign_out() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    first, second = sessions.begin(ALICE), sessions.begin(ALICE)
    assert sessions.find(first.name) is first
    sessions.end(first.name)
    assert sessions.find(first.name) is None
    clock.now += LIFE
    assert sessions.find(second.name) is None
    assert first.name not in repr(first)


def test_the_oldest_session_and_the_oldest_form_are_forgotten_first() -> None:
    sessions = Sessions(Clock())
    first = sessions.begin(ALICE)
    many = [sessions.begin(ALICE) for _ in range(REMEMBERED)]
    assert sessions.find(first.name) is None
    assert sessions.find(many[0].name) is many[0]
    tickets = [sessions.give_ticket(many[0], "/a") for _ in range(TICKETS + 1)]
    assert not sessions.take_ticket(many[0], tickets[0], "/a")
    assert sessions.take_ticket(many[0], tickets[1], "/a")


def test_a_ticket_is_for_one_form_of_one_session_once() -> None:
    sessions = Sessions(Clock())
    alice, bob = sessions.begin(ALICE), sessions.begin(ALICE)
    ticket = sessions.give_ticket(alice, "/instances/i-1/grant")
    assert not sessions.take_ticket(bob, ticket, "/instances/i-1/grant")
    assert not sessions.take_ticket(alice, ticket, "/instances/i-2/grant")
    ticket = sessions.give_ticket(alice, "/instances/i-1/grant")
    assert sessions.take_ticket(alice, ticket, "/instances/i-1/grant")
    assert not sessions.take_ticket(alice, ticket, "/instances/i-1/grant")
    assert not sessions.take_ticket(alice, "", "/instances/i-1/grant")


def papers(uid: int | None = None, bearer: str = "", cookie: str = "") -> Papers:
    return Papers(uid=uid, bearer=bearer, cookie=cookie)


def test_without_tokens_the_user_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsm_verifier.admin.who.may_always", lambda: frozenset({0}))
    sessions = Sessions(Clock())
    porter = Porter(sessions, None, may_act=frozenset({1000}), may_read=frozenset({990}))
    admitted = {uid: porter.admit(papers(uid))[0] for uid in (0, 1000, 990, 1001, None)}
    assert {uid: caller and caller.may_act for uid, caller in admitted.items()} == {
        0: True,
        1000: True,
        990: False,
        1001: None,
        None: None,
    }
    assert admitted[0] is not None
    assert admitted[0].name == "uid 0 (root)"
    session = sessions.begin(admitted[0])
    assert porter.admit(papers(0, cookie=session.name))[1] is session
    assert porter.admit(papers(1000, cookie=session.name))[1] is None
    assert porter.admit(papers(1001, cookie=session.name)) == (None, None)


def test_with_tokens_the_user_counts_for_nothing(tokens: Path) -> None:
    token = add_token(tokens, "alice", "act")
    sessions = Sessions(Clock())
    porter = Porter(sessions, Tokens(tokens), may_act=frozenset({1000}), may_read=frozenset())
    assert porter.admit(papers(0)) == (None, None)
    assert porter.admit(papers(1000)) == (None, None)
    assert porter.admit(papers(bearer=token)) == (ALICE, None)
    assert porter.admit(papers(bearer=token + "x")) == (None, None)
    alice = Tokens(tokens).find(token)
    assert alice is not None
    session = sessions.begin(alice)
    assert porter.admit(papers(cookie=session.name)) == (ALICE, session)
    remove_token(tokens, "alice")
    assert porter.admit(papers(cookie=session.name)) == (None, None)


def test_a_session_of_a_token_that_was_replaced_is_over(tokens: Path) -> None:
    leaked = add_token(tokens, "alice", "act")
    sessions, file = Sessions(Clock()), Tokens(tokens)
    porter = Porter(sessions, file, may_act=frozenset(), may_read=frozenset())
    thief = file.find(leaked)
    assert thief is not None
    session = sessions.begin(thief)
    assert porter.admit(papers(cookie=session.name)) == (ALICE, session)
    remove_token(tokens, "alice")
    fresh = add_token(tokens, "alice", "act")
    assert porter.admit(papers(cookie=session.name)) == (None, None)
    assert porter.admit(papers(bearer=fresh)) == (ALICE, None)
    assert thief.digest not in repr(thief)


def settings(tmp_path: Path, **admin: object) -> Settings:
    empty = dict.fromkeys(("ledger", "bundles", "bundle_key", "nonce_key", "aws_certs", "audit", "policy"), "")
    return Settings(
        audience="a",
        server=ServerSettings(tls_certificate="server.pem", tls_key="server.key"),
        state=StateSettings(answer_keys=("k",), **empty),
        aws=Aws(),
        path=tmp_path / "hsm-verifier.toml",
        admin=replace(AdminSettings(), **admin),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("admin", "words"),
    [
        ({"listen": "0.0.0.0:8444"}, "wants admin.tokens"),
        ({"listen": "[::]:8444"}, "wants admin.tokens"),
        ({"listen": "192.0.2.1:8444"}, "wants admin.tokens"),
        ({"listen": "vp.example:8444"}, "wants admin.tokens"),
        ({"listen": "8444"}, "not HOST:PORT or unix:PATH"),
        ({"listen": "127.0.0.1:99999"}, "not HOST:PORT or unix:PATH"),
        ({"listen": "127.0.0.1:1", "tls_key": "x"}, "go together"),
    ],
)
def test_a_place_where_nobody_could_be_known_is_refused(tmp_path: Path, admin: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        place_of(settings(tmp_path, **admin))


def test_beyond_this_machine_tls_is_always_spoken(tmp_path: Path) -> None:
    far = place_of(settings(tmp_path, listen="192.0.2.1:8444", tokens="t"))
    assert (far.local, far.certificate, far.key) == (False, "server.pem", "server.key")
    own = place_of(settings(tmp_path, listen="192.0.2.1:1", tokens="t", tls_certificate="a.pem", tls_key="a.key"))
    assert (own.certificate, own.key) == ("a.pem", "a.key")
    near = place_of(settings(tmp_path, listen="[::1]:8444"))
    assert (near.local, near.tls, near.host) == (True, False, "::1")
    assert place_of(settings(tmp_path, listen="unix:admin.sock")).path == tmp_path / "admin.sock"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return place_of(settings(tmp_path, listen="127.0.0.1:8444", hosts=("VP1.example",)))


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "[::1]", "localhost:8444", "127.0.0.1:1", "[::1]:9", "vp1.EXAMPLE:8444"]
)
def test_our_own_names_are_ours_on_any_port(place: Place, host: str) -> None:
    assert is_ours([host], place)


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [""],
        ["evil.example"],
        ["evil.example:8444"],
        ["localhost.evil.example"],
        ["localhost", "localhost"],
        ["localhost:"],
        ["localhost:8444:1"],
        ["localhost:8444@evil.example"],
        ["127.0.0.1.evil.example"],
        ["[::1].evil.example"],
        ["[::1"],
        ["[::1]8"],
        ["::1"],
        ["localhost:\u0661"],
        ["0.0.0.0"],
    ],
)
def test_any_other_name_is_not(place: Place, hosts: list[str]) -> None:
    assert not is_ours(hosts, place)


@given(st.text(alphabet="localhst.:[]127@/\\ \u0131\u017f", max_size=20))
def test_a_host_is_ours_only_if_its_name_is(host: str) -> None:
    place = Place(
        path=None, host="127.0.0.1", port=1, names=frozenset({"localhost"}), certificate="", key="", shared=False
    )
    assert is_ours([host], place) == (
        host == "localhost" or (host.startswith("localhost:") and host[10:].isascii() and host[10:].isdigit())
    )


def test_a_socket_left_by_a_killed_server_is_replaced_and_a_living_one_is_not(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("s") / "s"
    place = Place(path=path, host="", port=0, names=frozenset(), certificate="", key="", shared=False)
    place.open().close()
    with place.open() as living:
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
            place.open()
        assert living.getsockname() == str(path)
    path.unlink()
    path.write_text("not a socket")
    with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
        place.open()
    assert path.read_text() == "not a socket"
