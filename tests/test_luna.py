"""What vtl and lunacm say, from the texts that the public record has."""

import pytest

from hsm_enrol import luna
from hsm_enrol.host.tools import ToolRun
from hsm_enrol.luna import Partition, Shown
from hsm_enrol.model import RunTool
from hsm_enrol.tool_runs import show_groups

VERIFY = """
The following Luna SA Slots/Partitions were found:

Slot	Serial #        	Label
====	================	=====
   0	       500752010 	partition1
   -	       450006014 	par two
"""
SHOW_5 = """
================ HA Global Configuration Settings ===============
HA Auto Recovery: disabled
Only Show HA Slots: no
================ HA Group and Member Information ================
HA Group Label: credhub-old
HA Group Number: 99
HA Group Slot #: 7
Group Members: 99
HA Group Label: credhub
HA Group Number: 1156908040
HA Group Slot #: 6
Synchronization: enabled
Group Members: 156908040, 156908041
Standby members:

Slot # Member S/N Member Label Status
====== ========== ============ ======
1 156908040 par43 alive
2 156908041 par44 down
"""
LIST_7 = """
              HA auto recovery:  enabled
         HA Group Label:  myHAgroup
        HA Group Number:  1154438865287
       HA Group Slot ID:  5
       Synchronization: enabled
          Group Members:  154438865287, 1238700701509
             Needs sync:  no
        Standby Members:  <none>
Slot #    Member S/N                      Member Label    Status
------  154438865287                              par0     alive
------  1238700701509                      ------------      down
"""


def test_verify_lists_partitions_with_and_without_a_slot() -> None:
    assert luna.partitions(VERIFY) == (
        Partition(slot=0, serial="500752010", label="partition1"),
        Partition(slot=None, serial="450006014", label="par two"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "Error: Unable to find any Luna SA slots/partitions among registered server(s)",
        "Error: Unable to find any Luna SA slots/partitions among registered servers",
        "Error: There are no registered servers",
    ],
)
def test_no_partitions_is_told_apart_from_not_understood(text: str) -> None:
    assert luna.partitions(text) == ()
    assert luna.is_error("banner\n" + text)
    assert luna.partitions("Segmentation fault") is None


def test_a_label_counts_as_the_whole_field() -> None:
    groups = luna.groups(SHOW_5)
    assert [one.label for one in groups] == ["credhub-old", "credhub"]
    assert groups[1] == Shown(
        label="credhub", number="1156908040", slot=6, members=("156908040", "156908041"), alive=("156908040",)
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Error: There is no HA group web.\n",
        "================ HA Group and Member Information ================\n",
        "HA Group Label:\n",
    ],
)
def test_a_text_without_a_group_shows_none(text: str) -> None:
    assert luna.groups(text) == ()


def test_lunacm_prints_the_same_in_other_words() -> None:
    assert luna.groups(LIST_7) == (
        Shown(
            label="myHAgroup",
            number="1154438865287",
            slot=5,
            members=("154438865287", "1238700701509"),
            alive=("154438865287",),
        ),
    )


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("HA Group Number:  1156908040\n", "1156908040"),
        ('New group with label "myHA" created with group number 150032.', "150032"),
        ("nothing", None),
    ],
)
def test_the_groups_number_is_read_back(text: str, number: str | None) -> None:
    assert luna.group_number(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "Usage: vtl haAdmin ...",
        "0x1 Unknown command",
        "Unknown command-line arguments",
        "banner\nSyntax: vtl <command>",
        "Unknown command: haAdmin",
    ],
)
def test_a_usage_text_means_try_other_words(text: str) -> None:
    assert luna.is_usage(text)
    assert not luna.is_usage(SHOW_5 + VERIFY)


@pytest.mark.parametrize(
    "text",
    [
        "Error: CKR_PIN_INCORRECT",
        "failed (0x000000a0)",
        "Error: 0xa4",
        "The password is incorrect",
        "PIN locked",
        "Error: Incorrect password.",
        "Invalid PIN",
        "wrong challenge",
        "Error: The password has expired.",
        "The PIN has to be changed: it must be changed before use",
    ],
)
def test_a_refused_pin_is_recognised(text: str) -> None:
    assert luna.pin_refused(text)
    assert not luna.pin_refused(SHOW_5)


@pytest.mark.parametrize(
    "text",
    ["Error: The operation could not be completed.", "Invalid serial number", "The connection to the server was lost."],
)
def test_another_fault_after_the_pin_is_no_refusal(text: str) -> None:
    assert not luna.pin_refused(text)


def test_a_members_label_may_have_blanks() -> None:
    text = LIST_7.replace("            par0     alive", "     par 0 down town     alive")
    assert luna.groups(text)[0].alive == ("154438865287",)


REFUSALS_TO_KNOW = [
    "Error: Unknown command haAdmin.",
    "banner\nError: 'haAdmin' is not supported by this version.",
    "vtl: command not understood\nError: syntax",
    "Usage: vtl <command>",
]


@pytest.mark.parametrize("said", REFUSALS_TO_KNOW)
def test_an_error_about_groups_of_vtls_means_try_lunacm(said: str) -> None:
    def run(step: RunTool) -> ToolRun:
        return ToolRun(status=0, output=LIST_7 if step.tool == "lunacm" else said)

    spoken = show_groups(run, "myHAgroup")
    assert spoken is not None
    assert spoken[0] == "lunacm"


def test_an_error_of_lunacms_may_be_that_there_is_no_such_group() -> None:
    def run(step: RunTool) -> ToolRun:
        return ToolRun(status=1, output="Error: no such group" if step.tool == "lunacm" else "Unknown command: haAdmin")

    spoken = show_groups(run, "myHAgroup")
    assert spoken is not None
    assert spoken[0] == "lunacm"


@pytest.mark.parametrize(
    ("tail", "kind"),
    [
        ("Enter the password: ", "pin"),
        ("Please enter the password for the partition\r\n> ", "pin"),
        ("Enter challenge>", "pin"),
        ("PIN? ", "pin"),
        ("Would you like to 'copy' or 'remove' the objects, or 'quit'?\r\n> ", "objects"),
        ("The password was accepted.\r\n", None),
        ("Working ...", None),
    ],
)
def test_a_question_is_known_by_its_end(tail: str, kind: str | None) -> None:
    assert luna.question(tail) == kind


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("vtl (64-bit) v10.3.0-275. Copyright (c) 2020 SafeNet.", (10, 3)),
        ("lunacm (64-bit) v7.3.0. Copy", (7, 3)),
        ("", None),
    ],
)
def test_the_banner_tells_the_version(text: str, found: tuple[int, int] | None) -> None:
    assert luna.version(text) == found


def test_the_words_of_each_dialect() -> None:
    assert luna.new_group("vtl", "g", "1") == ("haAdmin", "newGroup", "-label", "g", "-serialNum", "1")
    assert luna.new_group("vtl-dashed", "g", "1")[1] == "-newGroup"
    assert luna.add_member("lunacm", "g", "11", "2") == (
        "-q",
        "hagroup",
        "addMember",
        "-group",
        "g",
        "-serialNumber",
        "2",
    )
    assert luna.add_member("vtl", "g", "11", "2")[3] == "11"
    assert [luna.program(one) for one in luna.DIALECTS] == ["vtl", "vtl", "lunacm"]
    assert "-password" not in "".join(luna.new_group("vtl", "g", "1"))


@pytest.mark.parametrize("output", ["", "Error: no group\n", "There are no HA groups.\n"])
def test_a_listing_without_groups_is_one_without_groups(output: str) -> None:
    assert luna.groups(output) == ()
