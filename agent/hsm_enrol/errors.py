"""Knows everything that can go wrong, in the operator's words: fault, hint, exit status and journal message id.

An error is a class with named facts. A fact is a path, a host name, a number or a word that this program chose; never
text or bytes out of a bundle, a key, a PIN or a tool's output, so that no secret can leak by way of a message.
The core always raises; `__main__` turns an error into lines and an exit status.
"""

import shlex
import string

STATUSES = {
    0: "done, or nothing to do",
    1: "`status`: not healthy; `check`: something would stop an enrolment",
    64: "wrong usage",
    65: "`Chrystoki.conf` or a `java.security` is not understood or in conflict; nothing was changed",
    69: "a Luna tool failed; undone",
    70: "a bug, or the host did not reach the wanted state; undone",
    73: "something cannot be read or written; undone",
    75: "try again: metadata service, verifier, or another run stood in the way",
    76: "the verifier's answer breaks the protocol; nothing was changed",
    77: "refused by the verifier, or the HSM refused the PIN",
    78: "settings are wrong, or there is no Luna client",
}
"""What each exit status means: README and hsm-enrol(8) say the same."""


class EnrolError(Exception):
    """Something that ends a run. `says`, `hint` and `then` are templates over the facts given to the constructor.

    `status` is the process's exit status (sysexits, see README), `reason` the stable word for scripts, `message_id`
    the journal's.
    """

    status = 70
    reason = "internal"
    message_id = ""
    says = ""
    hint = ""
    then = ""

    def __init__(self, **facts: str | int) -> None:
        """Take exactly the facts that the templates name; a TypeError is a bug in this program."""
        wanted = fact_names(type(self))
        if set(facts) != wanted:
            raise TypeError(f"{type(self).__name__} takes {sorted(wanted)}, got {sorted(facts)}")
        self.facts = facts
        super().__init__(self.fault())

    def fault(self) -> str:
        """Give what went wrong, one line, no full stop."""
        return self.says.format(**self.facts)

    def advice(self) -> str:
        """Give what the operator can do about it, one line, may be empty."""
        return self.hint.format(**self.facts)

    def next_command(self) -> str:
        """Give what to type next, one command; facts are quoted, for a path may hold anything."""
        return self.then.format(**{name: shlex.quote(str(value)) for name, value in self.facts.items()})

    @property
    def decision(self) -> str | None:
        """Give the id under which the verifier's audit has it; None when no verifier decided."""
        found = str(self.facts.get("decision", "-"))
        return None if found == "-" else found


def fact_names(kind: type[EnrolError]) -> set[str]:
    """Give the names that a class's templates use."""
    fields = string.Formatter().parse(kind.says + kind.hint + kind.then)
    return {name for _, name, _, _ in fields if name}


def catalogue() -> list[type[EnrolError]]:
    """Give every error there is, by exit status and then by reason: README's tables are made of this."""
    found: list[type[EnrolError]] = []
    queue = [EnrolError]
    while queue:
        for kind in queue.pop().__subclasses__():
            queue.append(kind)
            if kind.says:
                found.append(kind)
    return sorted(found, key=lambda kind: (kind.status, kind.reason))


# --- 64 usage


class Usage(EnrolError):
    """Exit 64, `usage`."""

    status = 64
    reason = "usage"
    message_id = "7a0840bd8818464b96693e6f378fb4dd"
    says = "{fault}"
    hint = "see `hsm-enrol --help`"
    then = "man hsm-enrol"


# --- 65 Chrystoki.conf or java.security not understood or in conflict: nothing was changed


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
    says = "another HA group already holds our members: {label}"
    hint = "remove or rename that group, or publish the bundle with its label"
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


# --- 69 a Luna tool failed: undone


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


# --- 70 a bug, or not converged: undone


class Internal(EnrolError):
    """Exit 70, `internal`."""

    status = 70
    reason = "internal"
    message_id = "8a02e29f1f4740dfb6c473a3e6dc945b"
    says = "a bug: {kind} at {where}"
    hint = "please report it with this line; this host is as it was before"
    then = "journalctl -x -u hsm-enrol -n 20"


class NotConverged(EnrolError):
    """Exit 70, `not_converged`."""

    status = 70
    reason = "not_converged"
    message_id = "6061e03de93e420598c4914ceec14b7a"
    says = "{count} steps were left after acting; first: {step}"
    hint = "another program may be writing the same files; this host is as it was before"
    then = "hsm-enrol enrol --plan"


class RecordDamaged(EnrolError):
    """Exit 70, `record_damaged`."""

    status = 70
    reason = "record_damaged"
    message_id = "72022e537e3e41a6850f4185c8087394"
    says = "{path} is damaged"
    hint = "`hsm-enrol re-enrol` writes it anew after a grant at the verifier"
    then = "hsm-enrol re-enrol"


# --- 73 cannot write: undone


class CannotWrite(EnrolError):
    """Exit 73, `cannot_write`."""

    status = 73
    reason = "cannot_write"
    message_id = "3b8767c95dc743cbaa9d2dee5e66afba"
    says = "cannot write {path}: {error}"
    hint = "is the file system full or mounted read-only? nothing was left half done"
    then = "findmnt -T {path}"


class CannotTell(EnrolError):
    """Exit 73, `cannot_tell`."""

    status = 73
    reason = "cannot_tell"
    message_id = "991bb21453d1404a98c9dc99751eb9b4"
    says = "cannot read {path}: {error}"
    hint = "nothing is planned on a guess; nothing was changed"
    then = "namei -l {path}"


class UnsafeFolder(EnrolError):
    """Exit 73, `unsafe_folder`."""

    status = 73
    reason = "unsafe_folder"
    message_id = "ec4cee8d600442ac861155151b09a751"
    says = "{path} could be changed by somebody other than root"
    hint = "chown it to root and take write permission from group and others"
    then = "namei -l {path}"


class UnsafeFile(EnrolError):
    """Exit 73, `unsafe_file`."""

    status = 73
    reason = "unsafe_file"
    message_id = "360c724bc90b4f3cb7870b6cdf3ea7e3"
    says = "{path} is {what}"
    hint = "a rename would split or lose it; make it an ordinary file"
    then = "ls -l {path}"


class UndoIncomplete(EnrolError):
    """Exit 73, `undo_incomplete`."""

    status = 73
    reason = "undo_incomplete"
    message_id = "62f5a51ec5bb4313ac9c147a528a8262"
    says = "{count} files could not be put back; first: {path}"
    hint = "repair the file system, then run `hsm-enrol enrol` again: it finishes the undo before anything else"
    then = "hsm-enrol enrol"


class UndoDamaged(EnrolError):
    """Exit 73, `undo_damaged`."""

    status = 73
    reason = "undo_damaged"
    message_id = "a2754a5ece0e46b39232b2305c23d646"
    says = "the journal of an unfinished run, {path}, is damaged"
    hint = "compare the copies named .hsm-enrol.* beside Chrystoki.conf and the certificates with the originals, then remove that folder"
    then = "ls -la {path}"


# --- 75 try again


class Busy(EnrolError):
    """Exit 75, `agent_busy`."""

    status = 75
    reason = "agent_busy"
    message_id = "76cfb4e8f1cc418794c55ed973ec7982"
    says = "another hsm-enrol, or a Luna tool it started, is at work on this host"
    hint = "wait for it, or look at `systemctl status hsm-enrol`"
    then = "systemctl status hsm-enrol"


class Interrupted(EnrolError):
    """Exit 75, `interrupted`."""

    status = 75
    reason = "interrupted"
    message_id = "24e4b9a003c44e02a07982dfd03caa72"
    says = "stopped by {signal}; what was begun is undone"
    hint = "run it again"
    then = "hsm-enrol enrol"


class ConfStale(EnrolError):
    """Exit 75, `conf_stale`."""

    status = 75
    reason = "conf_stale"
    message_id = "1c8f977d67884b6c91eadf78216b4960"
    says = "another program keeps changing {path}"
    hint = "find who writes it; nothing was changed by us"
    then = "fuser -v {path}"


class ImdsUnreachable(EnrolError):
    """Exit 75, `imds_unreachable`."""

    status = 75
    reason = "imds_unreachable"
    message_id = "42d47ccae277498fb99a76778e0d9652"
    says = "the instance metadata service does not answer at {endpoint} ({error})"
    hint = "is this an EC2 instance, and may root reach IMDS?"
    then = "hsm-enrol check"


class ImdsHopLimit(EnrolError):
    """Exit 75, `imds_hop_limit`."""

    status = 75
    reason = "imds_hop_limit"
    message_id = "d35be5cd661444939c7a954b20b47ec2"
    says = "the token request to {endpoint} timed out while the service itself answers"
    hint = "is this a container? raise the instance's metadata hop limit (HttpPutResponseHopLimit)"
    then = "hsm-enrol check"


class ImdsThrottled(EnrolError):
    """Exit 75, `imds_throttled`."""

    status = 75
    reason = "imds_throttled"
    message_id = "c70cbbb6bdac4ce68aa812319b75d8a3"
    says = "the instance metadata service kept answering {status} for {seconds} s"
    hint = "something on this host asks it too often"
    then = "hsm-enrol check"


class ImdsOdd(EnrolError):
    """Exit 75, `imds_odd`."""

    status = 75
    reason = "imds_odd"
    message_id = "8799ec2c6f484cb8a45cfa3fe5eaee8c"
    says = "the instance metadata service answered {item} with something that is not one ({what})"
    hint = "is a proxy or a stand-in answering at {endpoint}?"
    then = "hsm-enrol check"


class VerifierUnreachable(EnrolError):
    """Exit 75, `verifier_unreachable`."""

    status = 75
    reason = "verifier_unreachable"
    message_id = "5ec481b0f1e248088c52f149a6172cad"
    says = "no verifier could be reached; last: {url} ({error})"
    hint = "check routes, security groups and `verifier.urls`; it is tried again"
    then = "hsm-enrol check"


class VerifierUntrusted(EnrolError):
    """Exit 75, `verifier_untrusted`."""

    status = 75
    reason = "verifier_untrusted"
    message_id = "80b8a60543ec43998d9599a5b01b57e5"
    says = "the TLS certificate of {url} is not accepted: {why} (CA: {ca_file})"
    hint = "is that the CA that `hsm-verifier init` made, and this machine's clock right? a proxy that opens TLS shows here too"
    then = "hsm-enrol check"


class NotOurVerifier(EnrolError):
    """Exit 75, `not_our_verifier`."""

    status = 75
    reason = "not_our_verifier"
    message_id = "0caaa1b83de642e0aadcbfa2e4781b7e"
    says = "{url} answered {status} without a reason we know"
    hint = "is a proxy or another service answering there?"
    then = "hsm-enrol check"


class ClockWrong(EnrolError):
    """Exit 75, `clock_wrong`."""

    status = 75
    reason = "clock_wrong"
    message_id = "120522a5412b46b5bd8e812c4bafff02"
    says = "this machine's clock is {seconds} s away from the verifier's"
    hint = "is time synchronisation running (`timedatectl`, `chronyc tracking`)? nothing was sent; it is tried again"
    then = "timedatectl"


class TryLater(EnrolError):
    """Exit 75, `try_later`."""

    status = 75
    reason = "try_later"
    message_id = "0ea5e4cc5e7b43cfbe09047a50b38399"
    says = "the verifier asks to come back later: {reason} (decision {decision})"
    hint = "nothing to do; it is tried again"
    then = "hsm-enrol explain {reason}"


# --- 76 the answer breaks the protocol: nothing was changed


class AnswerRejected(EnrolError):
    """Exit 76, `answer_rejected`."""

    status = 76
    reason = "answer_rejected"
    message_id = "786497f3eb454deb9b12da3ade8fa619"
    says = "the verifier's answer is not acceptable: {rule} {what}"
    hint = "nothing was changed; compare versions of agent and verifier, and the answer keys"
    then = "hsm-enrol check"


class AnswerTooLarge(EnrolError):
    """Exit 76, `answer_too_large`."""

    status = 76
    reason = "answer_too_large"
    message_id = "0b68c2534109408bab03abbe5fba166f"
    says = "the answer of {url} is larger than {limit} bytes"
    hint = "nothing was changed; is that our verifier?"
    then = "hsm-enrol check"


class NotOpened(EnrolError):
    """Exit 76, `not_opened`."""

    status = 76
    reason = "not_opened"
    message_id = "21d90da4c4a04532bf881d122fe1cb1d"
    says = "the sealed bundle does not open with the key made for this run"
    hint = "nothing was changed; run it again"
    then = "hsm-enrol enrol"


# --- 77 refused


class Refused(EnrolError):
    """Exit 77, `refused`."""

    status = 77
    reason = "refused"
    message_id = "0c4ba4e793aa45fcb438e6d87134ea62"
    says = "the verifier refused this instance: {reason} (decision {decision})"
    hint = "look the decision up at the verifier: `hsm-verifier audit find {decision}`"
    then = "hsm-enrol explain {reason}"


class AlreadyEnrolled(EnrolError):
    """Exit 77, `already_enrolled`."""

    status = 77
    reason = "already_enrolled"
    message_id = "7bf831ad588d449ba046cae4671ea825"
    says = "this instance was served before (decision {decision}; our key is {thumbprint})"
    hint = "if that was this host: `hsm-verifier grant {instance} --owner {thumbprint} --reason ...`, then `hsm-enrol re-enrol`"
    then = "hsm-enrol re-enrol"


class ImdsOff(EnrolError):
    """Exit 77, `imds_off`."""

    status = 77
    reason = "imds_off"
    message_id = "b6b531e8a6a84ea29706795b26b366cc"
    says = "IMDS is switched off for this instance (403 from {endpoint})"
    hint = "enable it: aws ec2 modify-instance-metadata-options --http-endpoint enabled --http-tokens required"
    then = "hsm-enrol check"


class WrongInstance(EnrolError):
    """Exit 77, `wrong_instance`."""

    status = 77
    reason = "wrong_instance"
    message_id = "5cf0ea5747fd4ae7ad1d78b0f9ac600e"
    says = "IMDS says {imds} but this machine's DMI says {dmi}"
    hint = "a proxy or tunnel answers for IMDS; nothing was sent"
    then = "hsm-enrol check"


class PinRefused(EnrolError):
    """Exit 77, `pin_refused`."""

    status = 77
    reason = "pin_refused"
    message_id = "e3647e51cb7543989de176fd8dd0d809"
    says = "the HSM refused the partition PIN {pin_id}; it is not tried again on this host"
    hint = "DANGER of lockout: stop other hosts, correct the PIN, publish a new bundle"
    then = "hsm-enrol status"


class KeyLost(EnrolError):
    """Exit 77, `key_lost`."""

    status = 77
    reason = "key_lost"
    message_id = "58edbd4a140e41f3acbd300cab53b60c"
    says = "the client's private key at {path} is gone or damaged, and only the verifier has it"
    hint = "ask for a grant, then `hsm-enrol re-enrol`; everything else was repaired"
    then = "hsm-enrol re-enrol"


class OlderSerial(EnrolError):
    """Exit 77, `older_serial`."""

    status = 77
    reason = "older_serial"
    message_id = "54d0bbebe1924578b77d6ef8633d74a7"
    says = "the answer carries serial {got}, older than the installed {have}"
    hint = "the verifier was perhaps restored from a backup; nothing was changed"
    then = "hsm-enrol re-enrol --allow-older"


# --- 78 settings, or no Luna client


class BadSettings(EnrolError):
    """Exit 78, `bad_settings`."""

    status = 78
    reason = "bad_settings"
    message_id = "9cee4133f3484ef9a92d1ca7253623fc"
    says = "{path} line {line}: {what}"
    hint = "{better}"
    then = "man hsm-enrol.toml"


class SettingsMissing(EnrolError):
    """Exit 78, `settings_missing`."""

    status = 78
    reason = "settings_missing"
    message_id = "cf4a1cf06f334e81abe3dfd8ebd148dd"
    says = "cannot read {path}: {error}"
    hint = "copy hsm-enrol.toml.example there and fill in the [verifier] part"
    then = "man hsm-enrol.toml"


class CaUnusable(EnrolError):
    """Exit 78, `ca_unusable`."""

    status = 78
    reason = "ca_unusable"
    message_id = "c92b769dfecc4b28a32113c93564e6f9"
    says = "the verifier's CA file {path} cannot be used: {error}"
    hint = "copy verifier-ca.pem there from the folder that `hsm-verifier init` made, or correct `verifier.ca_file`"
    then = "hsm-enrol check"


class ClientMissing(EnrolError):
    """Exit 78, `client_missing`."""

    status = 78
    reason = "client_missing"
    message_id = "9a7f60e0072e4fb3982d4018db38e6df"
    says = "no Luna client here: {path} is missing"
    hint = "install the client, or set `luna.prefix` or `luna.config`"
    then = "hsm-enrol check"


class ServerNotAllowed(EnrolError):
    """Exit 78, `server_not_allowed`."""

    status = 78
    reason = "server_not_allowed"
    message_id = "639101215da94ea3abc6e43ac1c9f4ce"
    says = "the bundle names an appliance that is not in luna.allowed_servers: {address}"
    hint = "nothing was changed; add it there if it is yours"
    then = "man hsm-enrol.toml"


class CredentialsMissing(EnrolError):
    """Exit 78, `credentials_missing`."""

    status = 78
    reason = "credentials_missing"
    message_id = "c681b4bca72b4ae4a9ad997ba699bec9"
    says = "deliver.pin = {pin} needs systemd-creds, and {path} is not there"
    hint = "it comes with systemd 250; without it only deliver.pin = none can be kept across a reboot"
    then = "man hsm-enrol.toml"


class KemMissing(EnrolError):
    """Exit 78, `kem_missing`."""

    status = 78
    reason = "kem_missing"
    message_id = "1d823588289d4d73acca7c71d0bfdcdd"
    says = "this machine's cryptography has no {kem}"
    hint = 'install cryptography >= 47 built with ML-KEM, or set assertion.kem = "p256"'
    then = "hsm-enrol check"


class StsUnknown(EnrolError):
    """Exit 78, `sts_unknown`."""

    status = 78
    reason = "sts_unknown"
    message_id = "3f6d1fbd56ab4b4c9a4c6f5e1f0f7a28"
    says = "no STS address for region {region} ({what})"
    hint = "look at `assertion.sts_endpoint` and `imds.aws_dns_suffix`; nothing was sent"
    then = "hsm-enrol check"


class NotRoot(EnrolError):
    """Exit 78, `not_root`."""

    status = 78
    reason = "not_root"
    message_id = "2fdabd36095f4effa83f76adc8bdb486"
    says = "{command} writes to this host and needs root"
    hint = "use sudo"
    then = "sudo hsm-enrol {command}"


# --- faults on the wire: raised by hsm_enrol.wire, translated by each party at its edge


class WireError(Exception):
    """Bytes from outside that break a rule of docs/protocol.md: its number, and a fixed word or a member's name."""

    def __init__(self, rule: str, what: str) -> None:
        """Name the rule and the place; never the bytes."""
        self.rule = rule
        self.what = what
        super().__init__(f"{rule} {what}")


class SealError(Exception):
    """A sealed answer that does not open; one error without cause."""
