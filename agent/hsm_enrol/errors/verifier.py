"""Knows what can go wrong with the verifier: reaching it, trusting it, and what it answers."""

from hsm_enrol.errors.base import EnrolError


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


class OlderSerial(EnrolError):
    """Exit 77, `older_serial`."""

    status = 77
    reason = "older_serial"
    message_id = "54d0bbebe1924578b77d6ef8633d74a7"
    says = "the answer carries serial {got}, older than the installed {have}"
    hint = "the verifier was perhaps restored from a backup; nothing was changed"
    then = "hsm-enrol re-enrol --allow-older"


class CaUnusable(EnrolError):
    """Exit 78, `ca_unusable`."""

    status = 78
    reason = "ca_unusable"
    message_id = "c92b769dfecc4b28a32113c93564e6f9"
    says = "the verifier's CA file {path} cannot be used: {error}"
    hint = "copy verifier-ca.pem there from the folder that `hsm-verifier init` made, or correct `verifier.ca_file`"
    then = "hsm-enrol check"


class ServerNotAllowed(EnrolError):
    """Exit 78, `server_not_allowed`."""

    status = 78
    reason = "server_not_allowed"
    message_id = "639101215da94ea3abc6e43ac1c9f4ce"
    says = "the bundle names an appliance that is not in luna.allowed_servers: {address}"
    hint = "nothing was changed; add it there if it is yours"
    then = "man hsm-enrol.toml"


class KemMissing(EnrolError):
    """Exit 78, `kem_missing`."""

    status = 78
    reason = "kem_missing"
    message_id = "1d823588289d4d73acca7c71d0bfdcdd"
    says = "this machine's cryptography has no {kem}"
    hint = 'install cryptography >= 47 built with ML-KEM, or set assertion.kem = "p256"'
    then = "hsm-enrol check"
