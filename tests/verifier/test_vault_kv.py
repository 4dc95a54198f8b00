"""Bundles in a real OpenBao: published once, never changed, one counter for all verifiers; and what goes wrong."""

import contextlib
import itertools
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hsm_enrol.wire.bundle import Bundle
from hsm_verifier.__main__ import main
from hsm_verifier.bounded_session import MAX_BYTES
from hsm_verifier.openbao import OpenBao as Client
from hsm_verifier.refusal import Refusal
from hsm_verifier.service import Service
from hsm_verifier.settings import OpenBaoSettings, SettingsError, load_settings
from hsm_verifier.vault import Bundles, Vault, VaultError
from hsm_verifier.vault_kv import KvVault
from lab import pki
from lab.openbao import POLICY, OpenBao
from tests.verifier.party import NOW, PIN, Party, make_bundle


@dataclass
class Place:
    """One mount, the settings to reach it, and a root's hands on it."""

    server: OpenBao
    settings: OpenBaoSettings

    @property
    def mount(self) -> str:
        return self.settings.mount

    def vault(self) -> KvVault:
        return KvVault(Client(self.settings))

    def root(self) -> Any:
        return self.server.client().secrets.kv.v2

    def path(self, serial: int) -> str:
        return f"hsm-enrol/bundles/web/{serial}"


def secret_file(path: Path, text: str) -> str:
    path.touch(0o600)
    path.write_text(text)
    return str(path)


@pytest.fixture
def place(openbao: OpenBao, tmp_path: Path) -> Place:
    mount = openbao.fresh_mount()
    role_id, secret_id = openbao.open_place(mount)
    return Place(
        server=openbao,
        settings=OpenBaoSettings(
            url=openbao.url,
            ca_file=str(openbao.ca_file),
            mount=mount,
            role_id=role_id,
            secret_id_file=secret_file(tmp_path / "secret-id", secret_id + "\n"),
        ),
    )


@pytest.fixture(params=["files", "openbao"])
def vault_of_each_kind(request: pytest.FixtureRequest, tmp_path: Path) -> Bundles:
    if request.param == "files":
        (tmp_path / "bundles").mkdir()
        return Vault(tmp_path / "bundles", b"v" * 32)
    place: Place = request.getfixturevalue("place")
    return place.vault()


def test_what_is_published_is_read_back_and_the_newest_is_current(vault_of_each_kind: Bundles) -> None:
    vault = vault_of_each_kind
    assert (vault.current("web"), vault.groups(), vault.serials("web")) == (None, (), ())
    first = vault.put("web", make_bundle(), NOW)
    other = vault.put("db", make_bundle("pin-00000002"), NOW)
    second = vault.put("web", make_bundle("pin-00000003"), NOW)
    assert (first, other, second) == (int(NOW), int(NOW) + 1, int(NOW) + 2)
    assert Bundle.from_bytes(vault.read("web", first)) == replace(make_bundle(), serial=first)
    assert (vault.groups(), vault.serials("web")) == (("db", "web"), (first, second))
    current = vault.current("web")
    assert current is not None
    assert current.gate is not None
    assert (current.serial, current.gate.pin_id) == (second, "pin-00000003")


@pytest.mark.parametrize("group", ["", "..", "a/b", "a%2fb", "web\n"])
def test_a_group_is_no_path(vault_of_each_kind: Bundles, group: str) -> None:
    with pytest.raises(VaultError, match="group name"):
        vault_of_each_kind.put(group, make_bundle(), NOW)
    with pytest.raises(VaultError, match="group name"):
        vault_of_each_kind.serials(group)


def test_serials_drawn_by_two_verifiers_at_once_are_all_different(place: Place) -> None:
    vaults, together = (place.vault(), place.vault()), threading.Barrier(6)

    def publish(number: int) -> int:
        together.wait(10)
        return vaults[number % 2].put(f"group{number}", make_bundle(), NOW)

    with ThreadPoolExecutor(6) as pool:
        serials = sorted(pool.map(publish, range(6)))
    assert serials == list(range(int(NOW), int(NOW) + 6))


def test_serials_drawn_by_two_commands_at_once_are_all_different(tmp_path: Path) -> None:
    together = threading.Barrier(6)

    def publish(number: int) -> list[int]:
        vault = Vault(tmp_path, b"v" * 32)
        together.wait(10)
        return [vault.put(f"group{number}", make_bundle(), NOW) for _ in range(5)]

    with ThreadPoolExecutor(6) as pool:
        serials = sorted(one for found in pool.map(publish, range(6)) for one in found)
    assert serials == list(range(int(NOW), int(NOW) + 30))


def test_bundles_that_cannot_be_listed_are_told_and_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / "web").touch()
    vault = Vault(tmp_path, b"v" * 32)
    with pytest.raises(VaultError, match="bundles of web cannot be listed"):
        vault.current("web")


def test_a_publication_by_one_verifier_is_the_others_current_at_once(place: Place) -> None:
    ours, theirs = place.vault(), place.vault()
    for _ in range(3):
        serial = ours.put("web", make_bundle(), NOW)
        entry = theirs.current("web")
        assert entry is not None
        assert entry.serial == serial


def test_a_lost_counter_never_goes_back(place: Place) -> None:
    serial = place.vault().put("web", make_bundle(), NOW + 500)
    place.root().delete_metadata_and_all_versions("hsm-enrol/counter", mount_point=place.mount)
    assert place.vault().put("db", make_bundle(), NOW) == serial + 1


def test_a_counter_whose_last_version_was_deleted_is_a_lost_one(place: Place) -> None:
    serial = place.vault().put("web", make_bundle(), NOW + 500)
    place.root().delete_latest_version_of_secret("hsm-enrol/counter", mount_point=place.mount)
    assert place.vault().put("db", make_bundle(), NOW) == serial + 1
    assert place.vault().put("web", make_bundle(), NOW) == serial + 2


@pytest.mark.parametrize("last", ["0", "12x", "-1", 7])
def test_a_counter_that_holds_no_serial_publishes_nothing(place: Place, last: object) -> None:
    place.root().create_or_update_secret("hsm-enrol/counter", {"last": last}, mount_point=place.mount)
    with pytest.raises(VaultError, match="counter"):
        place.vault().put("web", make_bundle(), NOW)
    assert place.vault().groups() == ()


def test_a_bundle_written_over_by_hand_is_refused(place: Place) -> None:
    serial = place.vault().put("web", make_bundle(), NOW)
    stored = place.root().read_secret_version(
        place.path(serial), mount_point=place.mount, raise_on_deleted_version=True
    )["data"]["data"]
    place.root().create_or_update_secret(place.path(serial), stored, mount_point=place.mount)
    with pytest.raises(VaultError, match="written again"):
        place.vault().read("web", serial)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"serial": "7"}, "not what was published there"),
        ({"group": "db"}, "not what was published there"),
        ({"bundle": "{}"}, "does not open"),
        ({"bundle": 7}, "not what was published there"),
        ({"bundle": None}, "not what was published there"),
    ],
)
def test_a_bundle_put_there_by_hand_is_refused(place: Place, change: dict[str, Any], words: str) -> None:
    right = {
        "group": "web",
        "serial": "1800000009",
        "bundle": replace(make_bundle(), serial=1800000009).to_bytes().decode(),
    }
    place.root().create_or_update_secret(place.path(1800000009), right | change, mount_point=place.mount)
    with pytest.raises(VaultError, match=words) as caught:
        place.vault().read("web", 1800000009)
    assert PIN not in str(caught.value)


def test_a_bundle_under_anothers_serial_is_refused(place: Place) -> None:
    text = replace(make_bundle(), serial=1800000008).to_bytes().decode()
    place.root().create_or_update_secret(
        place.path(1800000009), {"group": "web", "serial": "1800000009", "bundle": text}, mount_point=place.mount
    )
    with pytest.raises(VaultError, match="another serial"):
        place.vault().read("web", 1800000009)


def test_a_serial_that_is_there_already_is_not_written_over(place: Place, tmp_path: Path) -> None:
    """Not with the documented policy, since OpenBao refuses, and not with every right, since check-and-set does."""
    place.root().create_or_update_secret(place.path(int(NOW)), {"bundle": "older"}, mount_point=place.mount)
    place.root().create_or_update_secret("hsm-enrol/counter", {"last": str(int(NOW) - 1)}, mount_point=place.mount)
    with pytest.raises(VaultError, match="permission denied"):
        place.vault().put("web", make_bundle(), NOW)
    place.root().create_or_update_secret("hsm-enrol/counter", {"last": str(int(NOW) - 1)}, mount_point=place.mount)
    token = secret_file(tmp_path / "root", place.server.client().token)
    mighty = replace(place.settings, role_id="", secret_id_file="", token_file=token)
    with pytest.raises(VaultError, match="is in the store already"):
        KvVault(Client(mighty)).put("web", make_bundle(), NOW)
    stored = place.root().read_secret_version(
        place.path(int(NOW)), mount_point=place.mount, raise_on_deleted_version=True
    )
    assert stored["data"]["data"] == {"bundle": "older"}


def test_these_tests_have_the_policy_that_operators_are_told_to_make() -> None:
    text = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
    told = [line.split() for line in text.splitlines() if line.strip().startswith('path "secret/')]
    assert told == [line.split() for line in POLICY.format(mount="secret", prefix="hsm-enrol").splitlines() if line]


def test_a_deleted_bundle_does_not_open_and_an_older_one_does_not_take_its_place(place: Place) -> None:
    vault = place.vault()
    vault.put("web", make_bundle(), NOW)
    serial = vault.put("web", make_bundle(), NOW)
    place.root().delete_latest_version_of_secret(place.path(serial), mount_point=place.mount)
    with pytest.raises(VaultError, match="is not in the store"):
        place.vault().current("web")


def test_a_token_that_was_revoked_is_got_anew_and_a_role_that_was_taken_away_is_told(place: Place) -> None:
    clock = [0.0]
    vault, root = KvVault(Client(place.settings, clock=lambda: clock[0])), place.server.client()
    serial = vault.put("web", make_bundle(), NOW)
    root.sys.revoke_prefix("auth/approle/login")
    assert vault.read("web", serial)
    root.auth.approle.delete_role(place.mount)
    root.sys.revoke_prefix("auth/approle/login")
    clock[0] = 10.0
    with pytest.raises(VaultError, match="role that exists") as caught:
        vault.read("web", serial)
    assert caught.value.again_in == 60


def test_a_policy_that_lacks_a_right_costs_no_login_for_each_asker(place: Place) -> None:
    root, clock = place.server.client(), [0.0]
    root.sys.create_or_update_policy(place.mount, 'path "elsewhere" { capabilities = ["read"] }')
    kv = Client(place.settings, clock=lambda: clock[0])

    def tokens() -> int:
        return len(root.list("auth/token/accessors")["data"]["keys"])

    before = tokens()
    for clock[0] in (0.0, 1.0, 2.0, 3.0, 11.0, 12.0):
        with pytest.raises(VaultError, match="permission denied"):
            kv.names("bundles")
    assert tokens() == before + 3  # the first, one in its place, one ten seconds later
    root.sys.create_or_update_policy(place.mount, POLICY.format(mount=place.mount, prefix="hsm-enrol"))
    assert kv.names("bundles") == ()
    kv.close()


def test_a_token_near_its_end_is_got_anew_before_it_is_refused(place: Place) -> None:
    root = place.server.client()
    root.auth.approle.create_or_update_approle(place.mount, token_policies=[place.mount], token_ttl="100s")
    clock = [0.0]
    kv = Client(place.settings, clock=lambda: clock[0])

    def logins() -> int:
        return len(root.list("auth/token/accessors")["data"]["keys"])

    before = logins()
    for clock[0] in (0, 69, 71, 72):
        kv.names("bundles")
    assert logins() == before + 2
    kv.close()


def test_a_token_that_cannot_be_renewed_yet_is_used_to_its_end(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    root = place.server.client()
    root.auth.approle.create_or_update_approle(place.mount, token_policies=[place.mount], token_ttl="100s")
    clock = [0.0]
    kv = Client(place.settings, clock=lambda: clock[0])
    secret, aside = Path(place.settings.secret_id_file), Path(f"{place.settings.secret_id_file}-aside")
    kv.names("bundles")
    secret.rename(aside)
    for clock[0] in (71, 72, 99):
        kv.names("bundles")
    (told,) = caplog.messages
    assert "cannot be read" in told
    assert "29 s" in told
    clock[0] = 100
    with pytest.raises(VaultError, match="cannot be read"):
        kv.names("bundles")
    aside.rename(secret)
    kv.names("bundles")
    kv.close()


def test_a_kept_connection_is_looked_after_by_the_kernel(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[int, ...]] = []
    connect = socket.socket.connect

    def look_and_connect(one: socket.socket, address: Any) -> None:
        kinds = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        alive = one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        found.append((alive, *(one.getsockopt(socket.IPPROTO_TCP, kind) for kind in kinds)))
        connect(one, address)

    monkeypatch.setattr(socket.socket, "connect", look_and_connect)
    kv = Client(place.settings)
    kv.names("bundles")
    kv.close()
    assert found == [(1, 15, 5, 2)]


def test_a_token_file_is_read_again_when_an_agent_replaced_it(place: Place, tmp_path: Path) -> None:
    root = place.server.client()
    tokens = [root.auth.token.create(policies=[place.mount])["auth"]["client_token"] for _ in range(2)]
    path = Path(secret_file(tmp_path / "token", tokens[0]))
    by_token = replace(place.settings, role_id="", secret_id_file="", token_file=str(path))
    vault = KvVault(Client(by_token))
    serial = vault.put("web", make_bundle(), NOW)
    root.auth.token.revoke(tokens[0])
    path.write_text(tokens[1])
    assert vault.serials("web") == (serial,)
    path.chmod(0o644)
    with pytest.raises(VaultError, match="cannot be read") as caught:
        KvVault(Client(by_token)).serials("web")
    assert tokens[1] not in str(caught.value)


def test_an_openbao_that_is_sealed_is_later_and_open_again_it_is_used_again(place: Place, party: Party) -> None:
    place.vault().put("web", make_bundle(), NOW)
    service = Service(replace(party.world, vault=place.vault()), party.audit)
    asker = party.asker()
    place.server.seal()
    reply = service.enrol(asker.ask(), "192.0.2.7")
    place.server.unseal()
    assert (reply.status, reply.retry_after) == (503, 5.0)
    assert "V14 OpenBao: sealed" in (party.folder / "audit.jsonl").read_text()
    assert service.enrol(asker.ask(), "192.0.2.7").status == 200


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mount": "nothing-here"}, "permission denied"),
        ({"prefix": "someone-elses"}, "permission denied"),
        ({"role_id": "unknown"}, "role that exists"),
        ({"auth_mount": "nowhere"}, "no such mount|permission denied"),
        ({"ca_file": ""}, "certificate is not trusted"),
        ({"url": "https://127.0.0.1:1"}, "unreachable"),
    ],
)
def test_each_way_of_not_reaching_it_has_its_own_word(place: Place, change: dict[str, str], words: str) -> None:
    with pytest.raises(VaultError, match=words):
        KvVault(Client(replace(place.settings, **change))).serials("web")


def test_a_mount_that_is_not_there_is_not_an_empty_one(place: Place, tmp_path: Path) -> None:
    token = secret_file(tmp_path / "root", place.server.client().token)
    settings = replace(place.settings, mount="nothing-here", role_id="", secret_id_file="", token_file=token)
    with pytest.raises(VaultError, match="no such mount"):
        KvVault(Client(settings)).serials("web")


def test_the_environment_is_not_looked_at(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "VAULT_TOKEN": "canary",
        "VAULT_ADDR": "http://127.0.0.1:1",
        "VAULT_CACERT": "/nowhere",
        "HTTPS_PROXY": "http://127.0.0.1:1",
        "REQUESTS_CA_BUNDLE": "/nowhere",
    }.items():
        monkeypatch.setenv(name, value)
    assert place.vault().serials("web") == ()


class Strange(ThreadingHTTPServer):
    """Something that is not OpenBao, over TLS: `says` writes whatever it likes after each request."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Strange)
        authority = pki.authority("Strange root")
        pair = pki.server(authority, ["127.0.0.1"])
        self.ca_file = folder / "strange-ca.pem"
        self.ca_file.write_text(authority.certificate_pem)
        chain = folder / "strange.pem"
        chain.write_text(pair.key_pem + pair.certificate_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.status, self.headers, self.body = 200, {"Content-Type": "application/json"}, b"{}"
        self.asked: list[str] = []

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        pass


class _Strange(BaseHTTPRequestHandler):
    server: Strange

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(self.server.body)

    do_LIST = do_POST = do_GET  # noqa: N815  the library's names

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def strange(tmp_path: Path) -> Iterator[Strange]:
    with Strange(tmp_path) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def stranger(strange: Strange, tmp_path: Path) -> KvVault:
    token = secret_file(tmp_path / "token", "canary-token")
    url = f"https://127.0.0.1:{strange.server_address[1]}"
    return KvVault(Client(OpenBaoSettings(url=url, ca_file=str(strange.ca_file), token_file=token)))


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"[]", "unknown shape"),
        (200, b"{}", "unknown shape"),
        (200, b"not json", "unknown shape"),
        (200, b'{"data": {"keys": 7}}', "unknown shape"),
        (200, b'{"data": {"data": [], "metadata": {}}}', "unknown shape"),
        (403, b'["canary"]', "unknown shape"),
        (404, b'{"errors": ["canary"]}', "no such mount"),
        (429, b'{"errors": ["canary"]}', "throttled"),
        (500, b'{"errors": ["canary"]}', "failed"),
        (503, b'{"errors": ["canary"]}', "sealed"),
        (200, b"x" * (MAX_BYTES + 1), "too large"),
        (307, b"", "unknown shape"),
    ],
)
def test_a_strange_answer_is_a_fault_of_the_store_and_is_not_quoted(
    strange: Strange, tmp_path: Path, status: int, body: bytes, words: str
) -> None:
    strange.status, strange.body = status, body
    if status == 307:
        strange.headers |= {"Location": "http://192.0.2.1/elsewhere"}
    with pytest.raises(VaultError, match=words) as caught:
        stranger(strange, tmp_path).serials("web")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("status", [204, 307])
def test_nothing_is_called_published_that_the_store_does_not_say_it_wrote(
    strange: Strange, tmp_path: Path, status: int
) -> None:
    """A standby that forwards to nobody sends its askers elsewhere, a balancer may do worse."""
    strange.status, strange.body = status, b""
    strange.headers |= {"Location": "https://192.0.2.1/v1/secret", "Content-Length": "0"}
    token = secret_file(tmp_path / "token", "canary-token")
    url = f"https://127.0.0.1:{strange.server_address[1]}"
    client = Client(OpenBaoSettings(url=url, ca_file=str(strange.ca_file), token_file=token))
    with pytest.raises(VaultError, match="unknown shape"):
        client.write("bundles/web/1800000000", {"serial": "1800000000"}, version=0)


def test_a_body_that_breaks_off_is_no_answer(strange: Strange, tmp_path: Path) -> None:
    strange.headers |= {"Content-Length": "500"}
    with pytest.raises(VaultError, match=r"broke off|unreachable"):
        stranger(strange, tmp_path).serials("web")


def test_an_answer_that_takes_too_long_as_a_whole_is_given_up(strange: Strange, tmp_path: Path) -> None:
    clock = itertools.count(0, 9)
    token = secret_file(tmp_path / "token", "canary-token")
    url = f"https://127.0.0.1:{strange.server_address[1]}"
    settings = OpenBaoSettings(url=url, ca_file=str(strange.ca_file), token_file=token)
    with pytest.raises(VaultError, match="no answer in time"):
        Client(settings, clock=lambda: float(next(clock))).names("bundles")


def test_the_command_line_publishes_into_openbao(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "vp"
    assert main(["init", str(folder)]) == 0
    config = folder / "hsm-verifier.toml"
    kept = [line for line in config.read_text().splitlines() if not line.startswith(("bundles =", "bundle_key ="))]
    names = ("url", "ca_file", "mount", "role_id", "secret_id_file")
    kept += ["[openbao]", *(f'{name} = "{getattr(place.settings, name)}"' for name in names)]
    config.write_text("\n".join(kept))
    (tmp_path / "b.json").write_bytes(make_json())
    capsys.readouterr()
    assert main(["bundle", "put", "--config", str(config), "--group", "web", str(tmp_path / "b.json")]) == 0
    serial = int(capsys.readouterr().out)
    assert place.vault().serials("web") == (serial,)
    assert main(["bundle", "show", "--config", str(config), "--group", "web"]) == 0
    assert PIN not in capsys.readouterr().out


def make_json() -> bytes:
    return make_bundle().to_bytes().replace(b'"serial":1,', b"").replace(b'"schema":1,', b"")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"url": ""}, "exactly one of them"),
        ({"url": "http://bao.example:8200"}, "openbao.url"),
        ({"url": "https://[2001:db8::1"}, "openbao.url"),
        ({"url": "https://bao.example:port"}, "openbao.url"),
        ({"url": "https://:8200"}, "openbao.url"),
        ({"token_file": "token"}, "openbao.token_file, or"),
        ({"role_id": ""}, "openbao.token_file, or"),
        ({"mount": "../sys"}, "openbao.mount"),
        ({"prefix": "a//b"}, "openbao.prefix"),
        ({"mont": "x"}, "did you mean mount"),
    ],
)
def test_a_fault_in_the_settings_names_its_key(tmp_path: Path, change: dict[str, str], what: str) -> None:
    folder = tmp_path / "vp"
    assert main(["init", str(folder)]) == 0
    config = folder / "hsm-verifier.toml"
    kept = [line for line in config.read_text().splitlines() if not line.startswith(("bundles =", "bundle_key ="))]
    right = {"url": "https://bao.example", "role_id": "r", "secret_id_file": "s"}
    config.write_text(
        "\n".join([*kept, "[openbao]", *(f'{name} = "{text}"' for name, text in (right | change).items())])
    )
    with pytest.raises(SettingsError, match=what):
        load_settings(config)


def test_a_slow_store_holds_no_row_of_the_ledger(place: Place, party: Party) -> None:
    """The bundle is read before the transaction begins: while the store hangs, others are decided."""
    place.vault().put("web", make_bundle(), NOW)
    reads, go_on = threading.Event(), threading.Event()

    class Slow(KvVault):
        def read(self, group: str, serial: int) -> bytes:
            reads.set()
            go_on.wait(10)
            return super().read(group, serial)

    vault = Slow(Client(place.settings))
    slow = Service(replace(party.world, vault=vault), party.audit)
    quick = Service(replace(party.world, vault=place.vault()), party.audit)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(slow.enrol, party.asker().ask(), "192.0.2.7")
        assert reads.wait(10)
        other = quick.enrol(party.asker("i-0fedcba9876543210").ask(), "192.0.2.8")
        assert not first.done()
        go_on.set()
        assert (other.status, first.result(10).status) == (200, 200)


def test_the_refusal_carries_how_soon_asking_again_makes_sense() -> None:
    from hsm_verifier.decide import translate

    told = translate(VaultError("OpenBao: sealed", again_in=5.0))
    assert isinstance(told, Refusal)
    assert (told.reason, told.retry_after, told.alarm) == ("upstream_busy", 5.0, True)
