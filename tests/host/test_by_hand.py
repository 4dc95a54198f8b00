"""Whose work stands in a file that an undo replaces: ours, a tool's, or somebody else's."""

from collections.abc import Callable

import pytest

from hsm_enrol.host.by_hand import Left, other_sections_differ

CONF = "/etc/Chrystoki.conf"
OLD = b"Luna = {\n  DefaultTimeOut = 1;\n}\nLunaSA Client = {\n  NetClient = 0;\n}\n"
OURS = OLD.replace(b"NetClient = 0", b"NetClient = 1")
EDITED = OURS.replace(b"DefaultTimeOut = 1", b"DefaultTimeOut = 2")
IN_OUR_SECTION = OURS.replace(b"NetClient = 1", b"NetClient = 1;\n  ReceiveTimeout = 5")


def seen() -> Left:
    left = Left()
    left.put(CONF, OLD)
    return left


def written() -> Left:
    left = seen()
    left.found(CONF, OLD)
    left.put(CONF, OURS)
    return left


def with_a_tool_at_work() -> Left:
    left = written()
    left.let_a_tool_write()
    return left


def built_on_an_edit() -> Left:
    left = seen()
    left.found(CONF, OLD + b"# a person's\n")
    left.put(CONF, OURS + b"# a person's\n")
    return left


@pytest.mark.parametrize(
    ("made", "now", "theirs"),
    [
        (seen, OLD, False),
        (seen, EDITED, True),
        (seen, OLD + b"# a comment\n", True),
        (written, OURS, False),
        (written, OLD, False),  # a write that failed half way
        (written, IN_OUR_SECTION, True),
        (written, OURS[:-20], True),
        (with_a_tool_at_work, OURS, False),
        (with_a_tool_at_work, EDITED, True),
        (with_a_tool_at_work, IN_OUR_SECTION, False),  # as a tool may have it
        (with_a_tool_at_work, b"", False),
        (with_a_tool_at_work, OURS[: len(OURS) // 2], False),
        (with_a_tool_at_work, b"-----BEGIN CERTIFICATE-----\n", False),
        (built_on_an_edit, OURS + b"# a person's\n", True),
    ],
)
def test_whose_it_is(made: Callable[[], Left], now: bytes, theirs: bool) -> None:  # noqa: FBT001  a table's column
    assert made().by_hand(CONF, OLD, now) is theirs


def test_a_file_that_nobody_of_us_wrote_is_somebody_elses_until_a_tool_ran() -> None:
    left = seen()
    assert left.by_hand("/etc/java.security", b"a", b"b")
    left.let_a_tool_write()
    assert not left.by_hand("/etc/java.security", b"a", b"b")


def test_after_a_kill_only_sections_tell() -> None:
    assert other_sections_differ(CONF, OLD, EDITED)
    assert not other_sections_differ(CONF, OLD, OURS)
    assert not other_sections_differ(CONF, OLD, EDITED[: EDITED.index(b"NetClient")])
