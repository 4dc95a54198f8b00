"""Knows what can go wrong with the Luna client, its configuration and the HSM behind it."""

from hsm_enrol.errors.base import EnrolError


class NotUnderstood(EnrolError):
    """Exit 65, `not_understood`."""

    status = 65
    reason = "not_understood"
    message_id = "0cdafc2e65f146bd87c06dfe08ac0a3c"
    says = "{path} line {line}: {what}"
    hint = "mend that line by hand; nothing was changed"
    then = "sed -n {line}p {path}"


class GroupConflict(EnrolError):
    """Exit 65, `group_conflict`."""

    status = 65
    reason = "group_conflict"
    message_id = "23ec464c43034500b1dbd8fac5b0b5f6"
    says = "another HA group has our label or holds our members: {label}"
    hint = "remove or rename that group, or publish a bundle that fits it"
    then = "vtl haAdmin show"


class SubjectConflict(EnrolError):
    """Exit 65, `subject_conflict`."""

    status = 65
    reason = "subject_conflict"
    message_id = "605d77535e1f4f1c9eec704dfa38e108"
    says = "another appliance's certificate in {path} has the same subject as {address}'s"
    hint = "give one of the two appliances another certificate; OpenSSL takes only the first of two alike"
    then = "openssl storeutl -noout -text -certs {path}"


class BadValue(EnrolError):
    """Exit 65, `bad_value`."""

    status = 65
    reason = "bad_value"
    message_id = "d15bbf377cb4416ba05b970a6b6a8fac"
    says = "a value for {section} / {key} cannot be written into Chrystoki.conf"
    hint = "only printable ASCII without ; {{ }} fits; look at the path or name it comes from"
    then = "hsm-enrol check"


class ToolFailed(EnrolError):
    """Exit 69, `tool_failed`."""

    status = 69
    reason = "tool_failed"
    message_id = "60e625c90e0e4ce7b6a09a1e408f7dbb"
    says = "{tool} {command} failed: {what}"
    hint = "run it by hand to see its own words; this host is as it was before"
    then = "hsm-enrol check"


class ToolTimeout(EnrolError):
    """Exit 69, `tool_timeout`."""

    status = 69
    reason = "tool_timeout"
    message_id = "f91a0f6092534cf094a4246ee4786296"
    says = "{tool} {command} did not end within {seconds} s"
    hint = "are the appliances reachable on port 1792? `luna.tool_timeout` raises the limit"
    then = "hsm-enrol check"


class ToolDamage(EnrolError):
    """Exit 69, `tool_damage`."""

    status = 69
    reason = "tool_damage"
    message_id = "221d04759840424faf6bf8b86865aca1"
    says = "{tool} {command} changed more of {path} than it may ({count} keys)"
    hint = "this host is as it was before; compare the client's version with those in the manual"
    then = "hsm-enrol check"


class NoSlots(EnrolError):
    """Exit 69, `no_slots`."""

    status = 69
    reason = "no_slots"
    message_id = "729aedb17d3441c6ade8598a3b0019f6"
    says = "no partition of this group is visible through the appliances"
    hint = "when TLS to port 1792 works, look at `ntls ipcheck` and NAT, and at the client's registration and partition assignment"
    then = "vtl verify"


class AppliancesUnreachable(EnrolError):
    """Exit 69, `appliances_unreachable`."""

    status = 69
    reason = "appliances_unreachable"
    message_id = "161a3d3c86074d398c302f31eb8205e9"
    says = "no appliance of this group can be reached; first: {address} port {port} ({what})"
    hint = "look at routes, security groups and name resolution, and at `service status ntls` on the appliance; this host is as it was before"
    then = "hsm-enrol check"


class CertificateNotAccepted(EnrolError):
    """Exit 69, `certificate_not_accepted`."""

    status = 69
    reason = "certificate_not_accepted"
    message_id = "e7dd159890584e59846a68a9be736cd3"
    says = "no appliance accepts this connection; first: {address} port {port}: {what}"
    hint = "after a change of an appliance's certificate publish a bundle with it; else register the client's certificate there (`client register`)"
    then = "hsm-enrol check"


class NotProven(EnrolError):
    """Exit 69, `not_proven`."""

    status = 69
    reason = "not_proven"
    message_id = "f737569b79be40e5ba26941d5067852f"
    says = "the Luna tools do not show HA group {label}"
    hint = "run `vtl haAdmin show` by hand; this host is as it was before"
    then = "vtl haAdmin show"


class PinRefused(EnrolError):
    """Exit 77, `pin_refused`."""

    status = 77
    reason = "pin_refused"
    message_id = "e3647e51cb7543989de176fd8dd0d809"
    says = "the HSM refused the partition PIN {pin_id}; it is not tried again on this host"
    hint = "DANGER of lockout: stop other hosts, correct the PIN, publish a new bundle"
    then = "hsm-enrol status"


class ClientMissing(EnrolError):
    """Exit 78, `client_missing`."""

    status = 78
    reason = "client_missing"
    message_id = "9a7f60e0072e4fb3982d4018db38e6df"
    says = "no Luna client here: {path} is missing"
    hint = "install the client, or set `luna.prefix` or `luna.config`"
    then = "hsm-enrol check"
