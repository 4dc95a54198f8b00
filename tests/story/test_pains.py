"""What has cost the users of other systems days, played in a whole world: it does no harm here, or says what it is.

The table of all of them is docs/operating.md, "What finds a known trouble".
"""

import json
import re
import time
from dataclasses import replace
from typing import Any

from hsm_enrol.wire.keys import generate_key, public_to_pem
from lab import pki
from lab.party import POLICY
from lab.world import World
from tests.adversary.relay import Relay
from tests.documents import bare, table


def policy(world: World, more: str, level: str = "identity-role") -> None:
    """Give the verifier another policy, and start it again."""
    world.party.set_policy(POLICY.format(account=world.aws.account_id, region=world.aws.region, level=level, more=more))
    restart(world)


def restart(world: World) -> None:
    listen = world.party.listen
    world.party.stop()
    world.party.start(listen=listen)


def enrol(world: World) -> dict[str, Any]:
    """Run the agent; give what a script reads."""
    told: dict[str, Any] = json.loads(world.agent("enrol", "--json").stdout)
    return told


def refused(world: World) -> dict[str, Any]:
    """Run the agent, which is refused; give the audit's line, found by the decision that the host shows."""
    told = enrol(world)
    assert (told["status"], told["reason"]) == (77, "refused"), told
    return next(line for line in world.party.audit() if line.get("decision") == told["decision"])


def why(world: World) -> list[str]:
    """Run the agent, which is refused; give what the audit says differs, without what is only observed."""
    return [one for one in refused(world)["mismatches"] if not one.endswith("(observed)")]


def joins(world: World) -> bool:
    return enrol(world).get("outcome") == "joined"


def test_p5_the_wrong_one_of_awss_certificates_is_named_and_a_region_without_one_is_no_fault(world: World) -> None:
    pinned = world.party.folder / "aws-certs" / f"{world.aws.region}.pem"
    pinned.write_text(pki.self_signed(pki.name(CN="another region's")).certificate_pem)
    restart(world)
    assert refused(world)["detail"] == "V5 signature"
    pinned.unlink()  # as in a region that the guide's page does not have yet
    policy(world, "demand_iid = true")
    told = enrol(world)
    assert (told["status"], told["reason"]) == (75, "try_later"), told
    line = next(one for one in reversed(world.party.audit()) if one.get("reason") == "upstream_busy")
    assert (line["detail"], line["alarm"]) == ("V10 no_certificate_for_region", True)
    dsa_as_the_page_has_it = pki.self_signed(pki.name(CN="dsa"), pki.ec_key()).certificate_pem
    page = world.folder / "guide.html"
    page.write_text(f"<h3>{world.aws.region}</h3>\n{dsa_as_the_page_has_it}\n{world.aws.certificate_pem}")
    world.party.command("aws-certs", "import", str(page))
    restart(world)
    assert joins(world)


def test_p8_what_only_some_instances_have_may_be_missing(world: World) -> None:
    """404 comes with a page, which some have taken for the host name."""
    world.imds.machine = replace(world.imds.machine, public_hostname=None, lifecycle=None)
    world.aws.api.records[world.machine.instance_id].machine = world.imds.machine
    checked = json.loads(world.agent("check", "--json").stdout)
    assert {one["level"] for one in checked["findings"] if one["about"] == "imds"} <= {"ok", "warn"}
    assert checked["ok"]
    shown = world.agent("assertion", "--json").stdout
    assert "public-hostname" not in json.loads(shown)["assertion"]["instance"]
    assert "<html" not in shown.lower()
    assert joins(world)


def test_p10_a_start_moves_the_one_window_and_not_the_other(world: World) -> None:
    """EC2's LaunchTime is that of the last start; creation is when the first interface was attached."""
    row = world.aws.api.records[world.machine.instance_id]
    row.attached -= 2 * 3600
    row.launched -= 2 * 3600
    policy(world, 'windows = { since_start = "15min", since_creation = "off" }')
    assert why(world) == ["V12 since_start_is_over"]
    world.aws.stop_instance(world.machine.instance_id)
    world.imds.machine = world.machine = world.aws.start_instance(world.machine.instance_id)
    policy(world, 'windows = { since_start = "15min", since_creation = "30min" }')
    assert why(world) == ["V12 since_creation_is_over"]
    policy(world, 'windows = { since_start = "15min", since_creation = "3h" }')
    assert joins(world)


def test_p11_an_honest_host_with_another_order_of_interfaces_or_a_name_of_its_own(world: World) -> None:
    """The order of interfaces decides nothing; a claim that differs is named, and has a switch of its own."""
    row = world.aws.api.records[world.machine.instance_id]
    row.interfaces_before = ((2, time.time() - 9 * 3600), (1, time.time() - 8 * 3600))
    world.imds.machine = replace(world.imds.machine, local_hostname="web1.corp.example")
    window = 'windows = { since_creation = "30min" }\n'
    policy(world, window + 'fields = { "local-ipv4" = "enforce", "local-hostname" = "enforce" }')
    assert why(world) == ["V10 local-hostname_differs"]
    policy(world, window + 'fields = { "local-ipv4" = "enforce", "local-hostname" = "off" }')
    assert joins(world)


def test_p17_tags_are_ec2s_whatever_they_hold_and_imds_is_not_asked(world: World) -> None:
    row = world.aws.api.records[world.machine.instance_id]
    row.tags |= {"kubernetes.io/cluster/pay us": "owned / shared", "Empty": ""}
    wanted = 'tags = { "kubernetes.io/cluster/pay us" = "%s" }'
    policy(world, wanted % "another's")
    assert why(world) == ["V10 tag_kubernetes.io/cluster/pay us_differs"]
    policy(world, wanted % "owned / shared")
    assert joins(world)
    assert not [request for request in world.imds.seen if "tags" in request]


def test_p21_an_answer_that_does_not_arrive_or_does_not_fit_says_why_and_uses_nothing_up(world: World) -> None:
    """With wrapped tokens a failed try uses the token up, and the next one says only that it is not valid."""
    key = world.config.parent / "answer-key.pem"
    right = key.read_bytes()
    key.write_bytes(public_to_pem(generate_key().public_key()))
    assert refused(world)["detail"] == "V4 trust"
    key.write_bytes(right)
    with Relay(world.party.folder, int(world.party.listen.rpartition(":")[2])) as network:
        network.plan["enrolments"] = ["answer lost"] * 20
        world.write_settings(urls=(network.url,), deadline="3s")
        told = enrol(world)
    assert (told["status"], told["reason"]) == (75, "verifier_unreachable")
    assert len(network.answered) >= 1  # the verifier had committed and answered
    world.write_settings()
    assert joins(world)  # without any grant
    assert not [line for line in world.party.audit() if line["event"] == "grant"]


def test_p22_the_call_that_watchers_see_is_exactly_the_documented_one_and_can_be_done_without(
    world: World,
) -> None:
    assert joins(world)
    (event,) = world.aws.sts.events
    heading = "What it looks like to those who watch AWS"
    documented = {bare(row["field"]): bare(row["value"]) for row in table("docs/operating.md", heading, "field")}
    assert documented["eventSource, eventName"] == f"{event.source}, {event.name}"
    assert documented["userAgent"] == event.agent
    pattern = re.escape(documented["userIdentity.arn"]).replace(r"\ ", " ")
    assert re.fullmatch(re.sub("<[^>]*>", "[^:/]+", pattern), event.arn)
    assert event.arn.endswith("/" + world.machine.instance_id)
    assert event.address == "127.0.0.1"  # the egress of `sts_connect`
    policy(world, "accept_unbound_evidence = true", level="iid")
    world.config.write_text(world.config.read_text() + '\n[assertion]\nevidence = ["iid"]\n')
    world.imds.machine = world.machine = world.aws.launch()
    assert joins(world)
    assert world.aws.sts.events == [event]
    line = next(one for one in world.party.audit() if one.get("instance") == world.machine.instance_id)
    assert line.get("alarm"), line
