import io
import os
import pty
import signal
import threading

import pytest

from hsm_enrol.errors import Refused
from hsm_enrol.host import terminal as module
from hsm_enrol.host.terminal import Terminal, coloured, is_terminal, open_terminal
from hsm_enrol.host.voice import Voice, open_voice
from tests.screen import screen


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def voice(stream: io.StringIO, clock: Clock) -> Voice:
    made = Voice(stream=stream, terminal=Terminal(stream=stream, clock=clock))
    made.phases.clock = clock
    return made


def shown(stream: io.StringIO) -> list[str]:
    return screen(stream.getvalue())


def test_a_step_is_there_while_it_runs_and_ends_with_its_seconds(
    voice: Voice, stream: io.StringIO, clock: Clock
) -> None:
    voice.step("identify", "ask IMDS which instance this is")
    assert shown(stream)[-1].endswith(" 0 s")
    clock.now += 2
    assert voice.terminal is not None
    voice.terminal.tick()
    assert shown(stream)[-1].endswith(" 2 s")
    clock.now += 0.34
    voice.step("ask", "2 verifiers")
    voice.done("joined", "joined: serial 7 in group web")
    assert shown(stream) == [
        "hsm-enrol: identify ask IMDS which instance this is                       2.3 s",
        "hsm-enrol: ask      2 verifiers                                           0.0 s",
        "hsm-enrol: joined: serial 7 in group web",
    ]
    assert voice.phases.seconds == {"identify": pytest.approx(2.34), "ask": 0.0}


def test_waiting_says_for_what_until_when_and_counts_down(voice: Voice, stream: io.StringIO, clock: Clock) -> None:
    voice.step("ask", "2 verifiers")
    voice.wait("the verifier asks to come back later: hold (decision 3aec3ee88016)", 17)
    assert voice.terminal is not None
    clock.now += 5
    voice.terminal.tick()
    told = shown(stream)
    assert told[0] == "hsm-enrol: ask      2 verifiers"
    assert told[1].startswith("hsm-enrol: waiting 17 s, until ")
    assert told[2].startswith("           hold (decision") or "hold" in told[1]
    assert "waiting, 12 s left" in told[-1]
    clock.now += 13
    voice.terminal.tick()
    assert "going on" in shown(stream)[-1]
    voice.fail(Refused(reason="not_admitted", decision="3aec3ee88016"))
    assert shown(stream)[3].split() == ["hsm-enrol:", "ask", "failed", "18.0", "s"]


def test_what_is_said_in_a_step_stands_below_it_in_order(voice: Voice, stream: io.StringIO) -> None:
    voice.verbose = True
    voice.step("ask", "2 verifiers")
    voice.detail("GET /v1/challenge: 200, 230 bytes")
    voice.warn("member 12 is down")
    voice.close()
    assert [line.split(" ")[1] for line in shown(stream)] == ["ask", "GET", "warning:", "ask"]
    assert "ended" in shown(stream)[-1]


def test_long_texts_are_wrapped_and_a_command_is_not_broken(voice: Voice, stream: io.StringIO) -> None:
    voice.step("install", "serial 1795541299, group " + "a-group-with-a-name-that-goes-on " * 4)
    voice.say("x" * 30 + " " + "y" * 60)
    voice.close()
    assert len(shown(stream)) == 8
    assert shown(stream)[6] == " " * 11 + "y" * 60
    assert voice.terminal is not None
    voice.terminal.line("next: ls " + "z" * 100)
    assert stream.getvalue().endswith("z" * 100 + "\n")


def test_a_name_cannot_move_the_cursor(voice: Voice, stream: io.StringIO) -> None:
    voice.step("ask", "evil\x1b[2J\rname\nhsm-enrol: joined")
    voice.wait("evil\x1b]0;title\x07", 3)
    voice.close()
    assert "\x1b[2J" not in stream.getvalue()
    assert "\x07" not in stream.getvalue()
    assert not any(line.startswith("hsm-enrol: joined") for line in shown(stream))


def test_colours_are_for_terminals_whose_user_has_not_said_no() -> None:
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as stream:
        assert coloured(stream, {"TERM": "xterm"})
        assert not coloured(stream, {"TERM": "xterm", "NO_COLOR": "1"})
        assert not coloured(stream, {"TERM": "dumb"})
        assert not coloured(stream, {})
        found = open_terminal(stream, {"TERM": "xterm", "NO_COLOR": "1"})
        assert found is not None
        assert (found.colours, found.width) == (False, 80)  # this terminal has no size; a usual one is assumed
        assert open_voice(stream, {"TERM": "xterm"}).terminal is not None
        assert open_voice(stream, {"TERM": "dumb"}).terminal is None
        os.close(master)
    assert not is_terminal(stream, {"TERM": "xterm"})  # closed
    assert not coloured(io.StringIO(), {"TERM": "xterm"})


def test_the_timer_shows_the_step_again_and_stops_with_it(
    stream: io.StringIO, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TICK", 0.01)
    before = signal.getsignal(signal.SIGALRM)
    shows = Terminal(stream=stream, clock=clock)
    shows.begin("ask", "2 verifiers")
    clock.now += 7
    ended = threading.Event()
    for _ in range(1000):
        if " 7 s" in stream.getvalue():
            break
        ended.wait(0.01)
    assert shown(stream)[-1].endswith(" 7 s")
    shows.end()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) == before


def test_a_tick_in_the_middle_of_a_line_is_left_out(stream: io.StringIO, clock: Clock) -> None:
    shows = Terminal(stream=stream, clock=clock)
    shows.begin("ask", "2 verifiers")
    shows._busy = True
    before = stream.getvalue()
    shows.tick()
    assert stream.getvalue() == before
    shows._busy = False
    shows.end()


def test_a_terminal_that_is_gone_stops_nobody(clock: Clock) -> None:
    stream = io.StringIO()
    shows = Terminal(stream=stream, clock=clock)
    shows.begin("ask", "2 verifiers")
    stream.close()
    shows.tick()
    shows.line("worth knowing")
    shows.end()
    assert shows._step is None
