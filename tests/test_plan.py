"""Situation by situation: exactly the steps that are needed, and none when planned again after acting."""

import dataclasses
import hashlib
from collections.abc import Callable

import pytest

from hsm_enrol import chrystoki
from hsm_enrol.chrystoki import HA, TOKENS, NotUnderstood
from hsm_enrol.errors import ClientMissing, GroupConflict, RecordDamaged, SubjectConflict
from hsm_enrol.model import ABSENT, Desired, EditConf, Found, Group, Need, Pair, Present, PutFile, Seen, Server, SetMode
from hsm_enrol.places import paths_of
from hsm_enrol.plan import NOTHING, Former, leftovers, make_plan, paths_to_look_at
from hsm_enrol.record import Record, without_secrets
from lab import pki

CONF = """Chrystoki2 = {
   LibUNIX64 = /usr/lib/libCryptoki2_64.so;
}

LunaSA Client = {
   ReceiveTimeout = 20000;
   ClientPrivKeyFile = /usr/safenet/lunaclient/cert/client/;
   ClientCertFile = /usr/safenet/lunaclient/cert/client/;
   ServerCAFile = /usr/safenet/lunaclient/cert/server/CAFile.pem;
   NetClient = 1;
}
"""
OTHERS = """VirtualToken = {
   VirtualToken00Label = others;
   VirtualToken00SN = 199;
   VirtualToken00Members = 99;
}
HASynchronize = {
   others = 1;
}
"""
OTHER = pki.self_signed(pki.name(CN="900"), pki.ec_key()).certificate_pem
KEY = "-----BEGIN RSA PRIVATE KEY-----\nCANARYKEY\n-----END RSA PRIVATE KEY-----\n"
CERTS = {
    name: pki.self_signed(pki.name(CN=name), pki.ec_key()).certificate_pem for name in ("one", "two", "three", "web")
}
RENEWED = pki.self_signed(pki.name(CN="web"), pki.ec_key()).certificate_pem
SERVERS = tuple(Server(address=f"hsm-{name}.example", port=1792, certificate=CERTS[name]) for name in ("one", "two"))
THIRD = Server(address="hsm-three.example", port=1792, certificate=CERTS["three"])
GROUP = Group(label="web", members=("154438865287", "1238700701509"), only=True, retry=-1, interval=60)


def desired_of(certificate: str = CERTS["web"], key: str = KEY, **changes: object) -> Desired:
    paths = paths_of(
        chrystoki.parse(CONF),
        conf_path="/etc/Chrystoki.conf",
        prefix="",
        exists=lambda path: path == "/usr/safenet/lunaclient",
        name="web",
        certificate=certificate,
    )
    assert paths is not None
    pair = Pair(name="web", certificate=certificate, key=key, key_sha256=hashlib.sha256(key.encode()).hexdigest())
    base = Desired(serial=7, client=pair, servers=SERVERS, ha=GROUP, paths=paths)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]  # the caller names a member


class Host:
    """A host whose files are a dictionary; acting is pure."""

    def __init__(self, conf: str | None = CONF) -> None:
        self.conf: Found = ABSENT if conf is None else self.file(conf.encode())
        self.files: dict[str, Found] = {}

    @staticmethod
    def file(content: bytes, mode: int = 0o644, gid: int = 0) -> Present:
        return Present(content=content, mode=mode, uid=0, gid=gid)

    def seen(self, desired: Desired, former: Former = NOTHING) -> Seen:
        text = chrystoki.decode(self.conf.content) if isinstance(self.conf, Present) else ""
        files = {path: self.files.get(path, ABSENT) for path in paths_to_look_at(desired, former, text)}
        return Seen(conf=self.conf, files=files, uid=0, gid=0, key_gid=990)

    def plan(self, desired: Desired, former: Former = NOTHING) -> list[str]:
        steps = make_plan(desired, self.seen(desired, former), former)
        return [name_of(step) for step in steps]

    def act(self, desired: Desired, former: Former = NOTHING) -> None:
        for step in make_plan(desired, self.seen(desired, former), former):
            if isinstance(step, PutFile):
                self.files[step.path] = Present(content=step.content, mode=step.mode, uid=step.uid, gid=step.gid)
            elif isinstance(step, SetMode):
                old = self.files[step.path]
                assert isinstance(old, Present)
                self.files[step.path] = dataclasses.replace(old, mode=step.mode, uid=step.uid, gid=step.gid)
            elif isinstance(step, EditConf):
                assert isinstance(self.conf, Present)
                text = chrystoki.with_changes(chrystoki.decode(self.conf.content), step.changes)
                self.conf = self.file(text.encode())
        assert make_plan(desired, self.seen(desired, former), former) == ()

    def text(self) -> str:
        assert isinstance(self.conf, Present)
        return chrystoki.decode(self.conf.content)


def name_of(step: object) -> str:
    if isinstance(step, EditConf):
        return "conf:" + ",".join(sorted(change.key for change in step.changes))
    if isinstance(step, PutFile | SetMode | Need):
        return f"{type(step).__name__}:{step.path.rpartition('/')[2]}"
    return type(step).__name__


DESIRED = desired_of()
STEM = DESIRED.paths.cert.rpartition("/")[2].removesuffix(".pem")
SERVER_FILES = ["PutFile:hsm-one.exampleCert.pem", "PutFile:hsm-two.exampleCert.pem", "PutFile:CAFile.pem"]


def record_of(desired: Desired) -> Former:
    return Record(agent="1", instance_id="i-1", tx="t", installed=without_secrets(desired)).former


def joined(conf: str = CONF) -> Host:
    host = Host(conf)
    host.act(DESIRED)
    return host


QUIET_AND_BUSY = pytest.mark.parametrize("conf", [CONF, CONF + OTHERS], ids=["quiet", "with others"])
BOTH = pytest.mark.parametrize("desired", [DESIRED, without_secrets(DESIRED)], ids=["from bundle", "from record"])


@QUIET_AND_BUSY
def test_a_fresh_host_gets_everything_in_the_fixed_order(conf: str) -> None:
    host = Host(conf)
    plan = host.plan(DESIRED)
    assert plan[:5] == [f"PutFile:{STEM}.pem", f"PutFile:{STEM}Key.pem", *SERVER_FILES]
    assert len(plan) == 6
    assert plan[5].startswith("conf:")
    host.act(DESIRED)
    group = chrystoki.groups(chrystoki.parse(host.text()))[0 if conf == CONF else 1]
    assert (group.label, group.serial, group.members) == ("web", "1154438865287", GROUP.members)
    assert conf.partition("LunaSA")[0] in host.text()


@QUIET_AND_BUSY
@BOTH
def test_the_same_again_is_no_step(conf: str, desired: Desired) -> None:
    assert joined(conf).plan(desired, record_of(DESIRED)) == []


def damage_key(host: Host) -> None:
    host.files[DESIRED.paths.key] = Host.file(b"zeros", 0o640, 990)


def wrong_modes(host: Host) -> None:
    for path in (DESIRED.paths.key, DESIRED.paths.cert):
        there = host.files[path]
        assert isinstance(there, Present)
        host.files[path] = dataclasses.replace(there, mode=0o666)


def empty_server_folder(host: Host) -> None:
    for path in list(host.files):
        if "/cert/server/" in path:
            del host.files[path]


def edit_ours(host: Host) -> None:
    host.conf = Host.file(host.text().replace("HAOnly = 1", "HAOnly = 0").encode())


def edit_foreign(host: Host) -> None:
    host.conf = Host.file(host.text().replace("ReceiveTimeout = 20000", "ReceiveTimeout = 5").encode())


def reset_conf(host: Host) -> None:
    host.conf = Host.file(CONF.encode())


def drop_synchronize(host: Host) -> None:
    host.conf = Host.file(host.text().replace("   web = 1;\n", "").encode())


def another_serial(host: Host) -> None:
    host.conf = Host.file(host.text().replace("SN = 1154438865287", "SN = 777").encode())


@BOTH
@pytest.mark.parametrize(
    ("harm", "steps"),
    [
        (wrong_modes, [f"SetMode:{STEM}.pem", f"SetMode:{STEM}Key.pem"]),
        (empty_server_folder, SERVER_FILES),
        (edit_ours, ["conf:HAOnly"]),
        (edit_foreign, []),
        (drop_synchronize, ["conf:web"]),
        (another_serial, []),
    ],
)
def test_what_was_harmed_is_mended_and_no_more(
    harm: Callable[[Host], None], steps: list[str], desired: Desired
) -> None:
    host = joined()
    harm(host)
    assert host.plan(desired, record_of(DESIRED)) == steps
    host.act(desired, record_of(DESIRED))


def test_a_conf_reset_by_a_package_upgrade_is_one_edit() -> None:
    host = joined()
    reset_conf(host)
    (step,) = host.plan(without_secrets(DESIRED), record_of(DESIRED))
    assert step.startswith("conf:")
    host.act(without_secrets(DESIRED), record_of(DESIRED))


def test_a_damaged_key_is_put_back_from_a_bundle_and_needed_by_the_record() -> None:
    host = joined()
    damage_key(host)
    assert host.plan(DESIRED) == [f"PutFile:{STEM}Key.pem"]
    assert host.plan(without_secrets(DESIRED), record_of(DESIRED)) == [f"Need:{STEM}Key.pem"]


def test_a_renewed_certificate_gets_new_names_and_the_old_pair_goes() -> None:
    host, new = joined(), desired_of(RENEWED, KEY.replace("CANARY", "OTHER"))
    former = record_of(DESIRED)
    plan = host.plan(new, former)
    assert [one.partition(":")[0] for one in plan] == ["PutFile", "PutFile", "conf"]
    assert plan[2] == "conf:ClientCertFile,ClientPrivKeyFile"
    assert leftovers(new, host.seen(new, former), former) == (DESIRED.paths.cert, DESIRED.paths.key)
    host.act(new, former)


def test_a_server_more() -> None:
    host, more = joined(), desired_of(servers=(*SERVERS, THIRD))
    assert host.plan(more, record_of(DESIRED)) == [
        "PutFile:hsm-three.exampleCert.pem",
        "PutFile:CAFile.pem",
        "conf:ServerHtl02,ServerName02,ServerPort02",
    ]
    host.act(more, record_of(DESIRED))


def test_a_server_less_leaves_no_hole() -> None:
    host, less = joined(), desired_of(servers=SERVERS[1:])
    former = record_of(DESIRED)
    assert host.plan(less, former) == ["PutFile:CAFile.pem", "conf:ServerHtl01,ServerName00,ServerName01,ServerPort01"]
    assert leftovers(less, host.seen(less, former), former) == (DESIRED.paths.server_cert("hsm-one.example"),)
    host.act(less, former)
    assert [one.name for one in chrystoki.servers(chrystoki.parse(host.text())).values()] == ["hsm-two.example"]


def test_a_server_with_a_new_certificate_replaces_its_own_block_only() -> None:
    host = joined()
    ca = DESIRED.paths.ca_file
    there = host.files[ca]
    assert isinstance(there, Present)
    host.files[ca] = dataclasses.replace(there, content=b"# mine\n" + OTHER.encode() + there.content)
    rekeyed = pki.self_signed(pki.name(CN="one"), pki.ec_key()).certificate_pem
    new = desired_of(servers=(dataclasses.replace(SERVERS[0], certificate=rekeyed), SERVERS[1]))
    assert host.plan(new, record_of(DESIRED)) == ["PutFile:hsm-one.exampleCert.pem", "PutFile:CAFile.pem"]
    host.act(new, record_of(DESIRED))
    after = host.files[ca]
    assert isinstance(after, Present)
    assert after.content == b"# mine\n" + (OTHER + CERTS["two"] + rekeyed).encode()


def test_another_port_and_another_member_are_one_key_each() -> None:
    host = joined()
    moved = desired_of(servers=(dataclasses.replace(SERVERS[0], port=1793), SERVERS[1]))
    assert host.plan(moved, record_of(DESIRED)) == ["conf:ServerPort00"]
    grown = desired_of(ha=dataclasses.replace(GROUP, members=(*GROUP.members, "42")))
    assert host.plan(grown, record_of(DESIRED)) == ["conf:VirtualToken00Members"]
    turned = desired_of(ha=dataclasses.replace(GROUP, members=GROUP.members[::-1]))
    assert host.plan(turned, record_of(DESIRED)) == []


def test_a_new_label_is_one_edit_in_place() -> None:
    host, renamed = joined(), desired_of(ha=dataclasses.replace(GROUP, label="pay"))
    (step,) = host.plan(renamed, record_of(DESIRED))
    assert step == "conf:VirtualToken00Label,pay,web"
    host.act(renamed, record_of(DESIRED))


def test_others_stay_when_ours_go() -> None:
    host = joined(CONF + OTHERS)
    less = desired_of(servers=SERVERS[:1])
    host.act(less, record_of(DESIRED))
    assert "VirtualToken00Label = others;" in host.text()


def test_our_members_in_somebody_elses_group_are_a_conflict() -> None:
    conf = CONF + OTHERS.replace("Members = 99", "Members = 1238700701509")
    with pytest.raises(GroupConflict, match="others"):
        Host(conf).plan(DESIRED)


def test_our_label_twice_is_not_understood() -> None:
    two = "".join(f"   VirtualToken0{n}Label = web;\n   VirtualToken0{n}SN = 1{n};\n" for n in (0, 1))
    with pytest.raises(NotUnderstood, match="twice"):
        Host(CONF + f"{TOKENS} = {{\n{two}}}\n").plan(DESIRED)


def test_a_foreign_server_with_our_subject_is_a_conflict() -> None:
    rival = pki.self_signed(pki.name(CN="one"), pki.ec_key()).certificate_pem
    host = Host(CONF.replace("NetClient = 1;", "NetClient = 1;\n   ServerName00 = other;\n   ServerPort00 = 1792;"))
    host.files[DESIRED.paths.server_cert("other")] = Host.file(rival.encode())
    host.files[DESIRED.paths.ca_file] = Host.file(rival.encode())
    with pytest.raises(SubjectConflict, match=r"hsm-one\.example"):
        host.plan(DESIRED)


def test_without_a_conf_there_is_no_client() -> None:
    with pytest.raises(ClientMissing):
        Host(None).plan(DESIRED)


def test_ha_scalars_and_pointers_are_the_documented_keys() -> None:
    host = joined()
    found = chrystoki.meaning(chrystoki.parse(host.text()))
    assert found[HA, "HAOnly"] == "1"
    assert found[HA, "reconnAtt"] == "-1"
    assert found[HA, "AutoReconnectInterval"] == "60"
    assert found["HASynchronize", "web"] == "1"


def test_the_record_reads_back_as_it_was_written() -> None:
    record = Record(
        agent="0.1.0",
        instance_id="i-0123456789abcdef0",
        tx="tx",
        installed=without_secrets(DESIRED),
        installed_at="2026-11-24T00:00:00Z",
        witness=(["/etc/x", 33188, 0, 0, "00"],),
        before={"HAConfiguration/HAOnly": None},
    )
    assert Record.from_bytes(record.to_bytes()) == record
    assert b"CANARYKEY" not in record.to_bytes()


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"schema":2}', b'{"schema":1,"agent":1}', b"\xff", b"{" * 5000])
def test_a_damaged_record_is_never_taken_for_none(data: bytes) -> None:
    with pytest.raises(RecordDamaged):
        Record.from_bytes(data)
