"""What `make bench` measures with: whole processes, a distance, the scripts that we compare with; and cold start."""

import contextlib
import dataclasses
import http.client
import json
import os
import platform
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.bench import contestants, installed, secrets_manager
from lab.bench.classic import Classic
from lab.bench.contest import BARS, Bar, compete, figures, ratio, table
from lab.bench.contestants import plain_environment
from lab.bench.cpu import used_by
from lab.bench.disk import flush
from lab.bench.distance import Distance, arrive
from lab.bench.generators import Plan
from lab.bench.line import Broken, Line, context_of
from lab.bench.place import Place, place
from lab.bench.process import Cost, Failed, Runner
from lab.bench.site import aws_apart, verifier
from lab.bench.throughput import measure, percentile, restart
from lab.postgres import Postgres

# docs/performance.md: what a run with nothing to do must not import, because each costs more than the whole answer.
HEAVY = {
    "argparse",
    "cryptography",
    "dataclasses",
    "inspect",
    "logging",
    "requests",
    "ssl",
    "subprocess",
    "tenacity",
    "typing",
    "urllib3",
}


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("bench") / "place") as found:
        yield found


@pytest.mark.parametrize("script", ["join.sh", "join_tuned.sh"])
def test_the_shell_does_the_classic_job_and_finds_nothing_to_do_afterwards(
    at: Place, tmp_path: Path, script: str
) -> None:
    with (
        Classic(tmp_path, at.world.bundle()) as server,
        contextlib.ExitStack() as stack,
        Runner(tmp_path / "log") as run,
    ):
        joins = contestants.shell(at, server, script, script, stack, far=False)
        joins.prepare()
        asked = at.world.imds.connections
        run.run(joins.argv, joins.environment)
        joins.check()
        assert server.told == 1
        assert at.world.imds.connections - asked >= (12 if script == "join.sh" else 2)
        idle = contestants.shell_idle(at, joins, "idle")
        run.run(idle.argv, idle.environment)
        conf = at.world.root / "etc/Chrystoki.conf"
        assert conf.read_text().count("ServerName0") == len(at.world.bundle()["servers"])
        conf.write_text(conf.read_text() + "\n# touched\n")
        with pytest.raises(Failed):
            run.run(idle.argv, idle.environment)


def test_a_contestant_that_does_nothing_ends_the_contest(at: Place, tmp_path: Path) -> None:
    idle = contestants.agent_idle(at, "idle")
    with Runner(tmp_path / "log") as run:
        assert len(compete([idle], 1, run)["idle"]) == 1
        with pytest.raises(Failed, match="did not say 'nothing to do'"):
            compete([dataclasses.replace(idle, argv=["/bin/true"])], 1, run)
        with pytest.raises(FileNotFoundError):
            compete([dataclasses.replace(contestants.agent(at, "enrol"), argv=["/bin/true"])], 1, run)
    at.first_boot()
    run_once = contestants.agent(at, "enrol")
    subprocess.run(run_once.argv, env=dict(run_once.environment), check=True, capture_output=True, timeout=60)
    record = at.world.root / "var/lib/hsm-enrol/record.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"receipt_due": {"result": "installed"}}))
    with pytest.raises(Failed, match="has not been told"):
        at.check_joined()


def test_a_run_with_nothing_to_do_imports_nothing_heavy(at: Place, tmp_path: Path) -> None:
    idle = contestants.agent_idle(at, "idle")
    launcher = tmp_path / "launcher"
    text = Path(idle.argv[0]).read_text().replace("sys.exit(main())", "status = main()")
    text += (
        "import json, os\nopen(os.environ['LOADED'], 'w').write(json.dumps(sorted(sys.modules)))\nsys.exit(status)\n"
    )
    launcher.write_text(text)
    launcher.chmod(0o755)
    loaded = tmp_path / "loaded"
    done = subprocess.run(
        [str(launcher), *idle.argv[1:]],
        env=plain_environment(LOADED=str(loaded)),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "nothing to do" in done.stderr
    names = {one.partition(".")[0] for one in json.loads(loaded.read_text())}
    assert "hsm_enrol" in names
    assert not names & HEAVY
    print(f"\n{len(names)} top-level modules")


def test_requests_comes_without_what_nobody_wants_and_without_a_warning() -> None:
    program = (
        "import sys, hsm_enrol.host.exchange\n"
        "from hsm_enrol.host.plain_requests import requests\n"
        "guessers = {'chardet', 'charset_normalizer'}\n"
        "assert not (guessers | {'importlib.metadata', 'urllib3.http2'}) & set(sys.modules)\n"
        "answer = requests.Response()\n"
        "answer._content = b'caf\\xc3\\xa9'\n"
        "assert answer.text == 'caf\\u00e9'\n"
        "import charset_normalizer, urllib3.http2\n"
        "assert callable(urllib3.http2.inject_into_urllib3)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)


def test_status_by_hand_needs_no_socket() -> None:
    program = "import sys\nimport hsm_enrol.cli.status\nassert 'socket' not in sys.modules\n"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_requests_is_imported_from_few_frames_before_all_that_asks() -> None:
    program = (
        "import sys\n"
        "from hsm_enrol.cli import commands\n"
        "assert 'requests' not in sys.modules\n"
        "commands._story()\n"
        "loaded = list(sys.modules)\n"
        "assert loaded.index('requests') < loaded.index('hsm_enrol.enrol')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_whole_processes_are_measured_with_their_children(tmp_path: Path) -> None:
    busy = (
        "import time; end = time.process_time() + 0.2\nwhile time.process_time() < end: pass\nx = bytearray(40 << 20)"
    )
    with Runner(tmp_path / "log") as run:
        small = run.run([sys.executable, "-IS", "-c", "pass"], plain_environment())
        large = run.run(["/bin/sh", "-c", f"{sys.executable} -IS -c '{busy}'; :"], plain_environment())
        assert small.peak < 30
        assert large.peak > 40
        assert large.cpu >= 200
        assert large.wall >= 200
        with pytest.raises(Failed, match="ended with 3"):
            run.run(["/bin/sh", "-c", "echo why; exit 3"], plain_environment())
        with pytest.raises(Failed, match="No such file"):
            run.run([str(tmp_path / "nothing")], plain_environment())
    with Runner(tmp_path / "log", limit=0.2) as run, pytest.raises(Failed, match="ended with -9"):
        run.run(["/bin/sh", "-c", "exec sleep 60"], plain_environment())


def test_aws_and_the_agent_are_compared_on_one_python_only(tmp_path: Path) -> None:
    def made_by(home: str, version: str) -> Path:
        (tmp_path / "pyvenv.cfg").write_text(f"home = {home}\nversion = {version}\nexecutable = /somewhere\n")
        return tmp_path

    home, version = f"{sys.base_prefix}/bin", platform.python_version()
    assert secrets_manager.argv(made_by(home, version))[0] == str(tmp_path / "bin/aws")
    for other in (("/elsewhere/bin", version), (home, "3.99.0")):
        with pytest.raises(Failed, match=r"aws has Python .*: run packaging/dev/bench\.sh with ours"):
            secrets_manager.argv(made_by(*other))


def test_bao_agent_renders_both_files(tmp_path: Path) -> None:
    pair = {"certificate": "certificate\n", "private_key": "key\n"}
    with contextlib.ExitStack() as stack, Runner(tmp_path / "log") as run:
        agent = contestants.bao_agent(tmp_path / "bao", {"client": pair}, stack, "bao")
        for _ in range(2):
            agent.prepare()
            with pytest.raises(FileNotFoundError):
                agent.check()
            run.run(agent.argv, agent.environment)
            agent.check()


def test_a_distance_is_felt_in_both_directions_and_by_the_handshake(tmp_path: Path) -> None:
    with Classic(tmp_path, {}) as server, Distance(("127.0.0.1", server.port), 0.05) as door:
        context = context_of(server.ca_file)

        def ask(port: int) -> float:
            begin = time.monotonic()
            with Line(("127.0.0.1", port), context) as line:
                assert line.ask("GET", "/challenge").status == http.client.OK
            return time.monotonic() - begin

        ask(server.port)
        assert ask(door.port) >= 0.15  # TCP, TLS 1.3, the request: a round trip each


def test_pieces_that_came_together_arrive_together(monkeypatch: pytest.MonkeyPatch) -> None:
    under_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
    came = time.monotonic()
    for moment, piece in ((came, b"one "), (came, b"two"), (came, b"")):
        under_way.put((moment, piece))
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)
    sink, client = socket.socketpair()
    with sink, client:
        arrive(under_way, sink)
        assert client.recv(100) == b"one two"
        assert client.recv(100) == b""
    assert naps == [0.0, 0.0, 0.0]


def test_a_connection_that_ends_early_is_broken_and_no_empty_reply(tmp_path: Path) -> None:
    with Classic(tmp_path, {}) as server:
        line = Line(("127.0.0.1", server.port), context_of(server.ca_file))
        assert line.ask("POST", "/receipts", "text/plain", b"x").body == b""
        line.ask("BREW", "/")  # http.server answers 501 and hangs up
        with pytest.raises((Broken, OSError)):
            line.ask("GET", "/challenge")
        line.close()


def test_ratios_are_those_of_the_same_round() -> None:
    def cost(wall: float) -> Cost:
        return Cost(wall=wall, cpu=1.0, peak=10.0)

    ours, theirs = [cost(1.0), cost(20.0), cost(3.0)], [cost(2.0), cost(40.0), cost(6.0)]
    costs = {"ours": ours, "theirs": theirs}
    assert ratio(Bar(ours="ours", what="wall", most=1.0, theirs="theirs"), costs) == 0.5
    assert ratio(Bar(ours="ours", what="peak", most=20.0), costs) == 10.0
    assert figures(ours).wall == 3.0
    assert percentile([float(n) for n in range(1, 101)], 0.99) == 100.0
    lines = table({"ours": figures(ours)}).splitlines()
    assert all(len(one) <= 80 for one in lines)
    assert all(len(bar.ours) <= 28 and len(bar.theirs) <= 28 for bar in BARS)


def test_the_disk_is_asked_and_left_as_it_was(tmp_path: Path) -> None:
    assert 0 < flush(tmp_path) < 10_000
    assert not list(tmp_path.iterdir())


def test_the_cpu_of_a_running_process_is_read_from_proc() -> None:
    before, stop = used_by(os.getpid()), threading.Event()
    end = time.process_time() + 0.1
    while time.process_time() < end:
        stop.wait(0)
    after = used_by(os.getpid())
    assert 0.08 <= after.cpu - before.cpu <= 1.0
    assert after.peak_mib > 10


def test_a_restart_after_the_load_is_none_and_cpu_of_two_processes_is_never_compared(tmp_path: Path) -> None:
    with aws_apart(tmp_path / "aws", 2) as aws, verifier(tmp_path / "vp", aws) as site:
        fleet, process = aws.fleet(), site.processes[0]
        over = measure(site, aws, fleet[:1], Plan(clients=1), restarts=2)  # one enrolment ends before the first
        assert (over.restarts, over.enrolled) == (0, 1)
        assert site.processes == [process]
        assert over.server_cpu is not None
        load = iter([True, True, True, False])
        assert restart(site, 5, lambda: next(load)) == 1  # when the second ended, nobody asked any more
        assert site.processes != [process]
        assert measure(site, aws, fleet[1:], Plan(clients=1)).enrolled == 1


def test_the_load_test_runs_on_a_durable_postgresql_too(tmp_path: Path) -> None:
    with (
        Postgres(durable=True) as database,
        aws_apart(tmp_path / "aws", 9) as aws,
        verifier(tmp_path / "vp", aws, database=database) as site,
    ):
        fleet = aws.fleet()
        assert measure(site, aws, fleet[:1], Plan(clients=1)).enrolled == 1  # the PIN is proven: nobody is held
        assert measure(site, aws, fleet[1:], Plan(clients=4)).enrolled == 8
        assert database.sql("SHOW fsync", "bench").strip() == "on"
        assert database.sql("SELECT count(*) FROM slots WHERE state = 'CONFIRMED'", "bench").strip() == "9"


def test_an_installed_tree_is_compared_round_by_round() -> None:
    found = {
        job: {installed.PACKAGE: [11.0, 30.0, 12.0], installed.WRITTEN: [10.0, 20.0, slow], installed.BARE: [40.0] * 3}
        for job, slow in (("enrol", 12.0), ("nothing to do", 4.0))
    }
    lines = installed.table(found).splitlines()
    assert lines[-2:] == [
        "enrol: package, read-only / byte code written here 1.10, bar 1.1: met",
        "nothing to do: package, read-only / byte code written here 1.50, bar 1.1: MISSED",
    ]
