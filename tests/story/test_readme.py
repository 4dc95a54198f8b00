"""README's transcript of one boot is what a boot prints."""

import re

from lab.world import World
from tests.documents import text_of


def shown() -> list[str]:
    """README's first two blocks, as lines."""
    blocks = re.findall(r"^```\n(hsm-enrol: .*?)^```", text_of("README.md"), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def plain(lines: list[str]) -> list[str]:
    """Take out what differs from run to run: serials, member numbers, the moment."""
    return [re.sub(r"\d{9,}|\d{4}-\d\d-\d\dT[\d:]+Z", "N", line) for line in lines]


def test_the_transcript_in_readme_is_what_two_boots_print(world: World) -> None:
    printed = []
    for _ in range(2):
        ran = world.agent("enrol", "--reason", "boot", INVOCATION_ID="0" * 32)
        assert ran.returncode == 0, ran.stderr
        printed += [line.removeprefix("<6>") for line in ran.stderr.splitlines()]
    assert plain(printed) == plain(shown())
