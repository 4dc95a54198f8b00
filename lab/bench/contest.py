"""Knows how to compare whole processes fairly: one after the other in each round, medians of many rounds, ratios first.

`python -m lab.bench.contest` prints a table of 80 columns; `--out` writes contest.json and contest.svg. Absolute times
are this machine's and this hour's; ratios travel. Files lie below TMPDIR, and every contestant flushes some of them: a
folder in memory flatters the agent, which flushes the most.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import statistics
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import charts
from lab.bench import contestants, secrets_manager
from lab.bench.classic import Classic
from lab.bench.contestants import Contestant
from lab.bench.disk import flush
from lab.bench.place import place
from lab.bench.process import Cost, Failed, Runner

ENROL, FAR, STANDINS, IDLE = "enrol", "enrol, far", "enrol, tool stand-ins", "enrol, nothing to do"
SHELL, TUNED, SHELL_FAR, SHELL_IDLE = "shell as written", "shell, tuned", "shell as written, far", "shell, idle check"
AWS, BAO, PYTHON = "aws get-secret-value", "bao agent, two files", "python3 -IS -c pass"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A promise: `ours` costs at most `most` times what `theirs` does, in `what`; `theirs` "" is an absolute number."""

    ours: str
    what: str
    most: float
    theirs: str = ""


BARS = (
    Bar(ours=ENROL, what="wall", most=0.50, theirs=SHELL),
    Bar(ours=ENROL, what="wall", most=0.75, theirs=TUNED),
    Bar(ours=ENROL, what="wall", most=0.45, theirs=AWS),
    Bar(ours=ENROL, what="wall", most=1.7, theirs=BAO),
    Bar(ours=ENROL, what="peak", most=0.65, theirs=BAO),
    Bar(ours=FAR, what="wall", most=0.55, theirs=SHELL_FAR),
    Bar(ours=IDLE, what="wall", most=4.0, theirs=PYTHON),
    Bar(ours=IDLE, what="wall", most=0.45, theirs=BAO),
    Bar(ours=IDLE, what="wall", most=1.0, theirs=SHELL_IDLE),
    Bar(ours=IDLE, what="peak", most=20.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One contestant's rounds: medians, and the wall time's quartiles. Milliseconds and MiB."""

    wall: float
    quartiles: tuple[float, float]
    cpu: float
    peak: float
    rounds: int


@contextlib.contextmanager
def field(folder: Path) -> Iterator[tuple[Contestant, ...]]:
    """Bring everybody to the start."""
    with contextlib.ExitStack() as stack:
        near = stack.enter_context(place(folder / "near"))
        away = stack.enter_context(place(folder / "far", far=True))
        real = stack.enter_context(place(folder / "standins", instant=False))
        joined = stack.enter_context(place(folder / "idle"))
        scripted = stack.enter_context(place(folder / "shell"))
        scripted_far = stack.enter_context(place(folder / "shell-far"))
        checked = stack.enter_context(place(folder / "shell-idle"))
        bundle = near.world.bundle()
        server = stack.enter_context(Classic(folder, bundle))
        (folder / "aws").mkdir()
        environment = stack.enter_context(secrets_manager.serving(folder / "aws", bundle))
        yield (
            contestants.agent(near, ENROL),
            contestants.shell(scripted, server, SHELL, "join.sh", stack, far=False),
            contestants.shell(scripted, server, TUNED, "join_tuned.sh", stack, far=False),
            contestants.aws(environment, AWS),
            contestants.bao_agent(folder / "bao", bundle, stack, BAO),
            contestants.agent(away, FAR),
            contestants.shell(scripted_far, server, SHELL_FAR, "join.sh", stack, far=True),
            contestants.agent(real, STANDINS),
            contestants.agent_idle(joined, IDLE),
            contestants.shell_idle(
                checked, contestants.shell(checked, server, "", "join.sh", stack, far=False), SHELL_IDLE
            ),
            contestants.bare_python(PYTHON),
        )


def compete(everybody: Sequence[Contestant], rounds: int, runner: Runner) -> dict[str, list[Cost]]:
    """Let everybody run once a round; the first round warms caches and is thrown away."""
    found: dict[str, list[Cost]] = {one.name: [] for one in everybody}
    for number in range(rounds + 1):
        for one in everybody:
            one.prepare()
            cost = runner.run(one.argv, one.environment)
            one.check()
            if one.says not in runner.said:
                raise Failed(f"{one.name} did not say {one.says!r}")
            if number:
                found[one.name].append(cost)
        print(f"\rround {number} of {rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return found


def figures(costs: Sequence[Cost]) -> Figures:
    """Give medians."""
    wall = sorted(one.wall for one in costs)
    quarter = statistics.quantiles(wall, n=4) if len(wall) > 1 else [wall[0]] * 3
    return Figures(
        wall=statistics.median(wall),
        quartiles=(quarter[0], quarter[2]),
        cpu=statistics.median(one.cpu for one in costs),
        peak=statistics.median(one.peak for one in costs),
        rounds=len(costs),
    )


def ratio(bar: Bar, costs: dict[str, list[Cost]]) -> float:
    """Give the median of the rounds' own ratios: both sides of each were measured within the same second or two."""
    ours = [getattr(one, bar.what) for one in costs[bar.ours]]
    if not bar.theirs:
        return float(statistics.median(ours))
    theirs = [getattr(one, bar.what) for one in costs[bar.theirs]]
    return float(statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True)))


def table(found: dict[str, Figures]) -> str:
    """Lay the figures out in 80 columns."""
    rows = [f"{'whole process':28}{'wall ms':>9}{'(quartiles)':>16}{'CPU ms':>9}{'peak MiB':>10}"]
    for name, one in found.items():
        spread = f"({one.quartiles[0]:.0f}-{one.quartiles[1]:.0f})"
        rows.append(f"{name:28}{one.wall:9.1f}{spread:>16}{one.cpu:9.1f}{one.peak:10.1f}")
    return "\n".join(rows)


def verdicts(costs: dict[str, list[Cost]]) -> str:
    """Lay the promises out in 80 columns."""
    rows = [f"{'promise':58}{'bar':>7}{'is':>8}"]
    for bar in BARS:
        value = ratio(bar, costs)
        words = f"{bar.ours}: {bar.what} against {bar.theirs}" if bar.theirs else f"{bar.ours}: {bar.what}, MiB"
        rows.append(f"{words:58}{bar.most:7.2f}{value:8.2f}  {'ok' if value <= bar.most else 'MISSED'}")
    return "\n".join(rows)


def build() -> str:
    """Say which Python this is: Debian's, below /usr, is a seventh quicker than one built without profile guidance."""
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    return f"Python {platform.python_version()} below {sys.base_prefix}{', --enable-optimizations' * optimised}"


def main() -> int:
    """Compete, print, write. Status 1 when a promise is not kept and `--strict` was given."""
    parser = argparse.ArgumentParser(prog="contest", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--strict", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hsm-bench-") as name:
        folder = Path(name)
        disk = flush(folder)
        with field(folder) as everybody, Runner(folder / "log") as runner:
            costs = compete(everybody, args.rounds, runner)
    found = {name: figures(each) for name, each in costs.items()}
    print(f"{args.rounds} rounds, everybody once a round; {build()}; fsync {disk:.2f} ms")
    print(table(found))
    print()
    print(verdicts(costs))
    if args.out:
        write(args.out, found, costs, disk)
    return int(args.strict and any(ratio(bar, costs) > bar.most for bar in BARS))


def write(out: Path, found: dict[str, Figures], costs: dict[str, list[Cost]], disk: float) -> None:
    """Write contest.json and contest.svg."""
    out.mkdir(parents=True, exist_ok=True)
    told = {
        "python": build(),
        "fsync_ms": round(disk, 3),
        "figures": {name: asdict(one) for name, one in found.items()},
        "promises": [asdict(bar) | {"is": round(ratio(bar, costs), 3)} for bar in BARS],
    }
    (out / "contest.json").write_text(json.dumps(told, indent=1) + "\n")
    rows = [charts.Bar(name=name, pieces=[("wall", one.wall)], note="ms") for name, one in found.items()]
    (out / "contest.svg").write_text(charts.bars("Whole processes, wall time", rows, unit="median, milliseconds"))


if __name__ == "__main__":
    sys.exit(main())
