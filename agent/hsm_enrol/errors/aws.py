"""Knows what can go wrong with what AWS says of this instance: its metadata service, and where STS is."""

from hsm_enrol.errors.base import EnrolError


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


class StsUnknown(EnrolError):
    """Exit 78, `sts_unknown`."""

    status = 78
    reason = "sts_unknown"
    message_id = "3f6d1fbd56ab4b4c9a4c6f5e1f0f7a28"
    says = "no STS address for region {region} ({what})"
    hint = "look at `assertion.sts_endpoint` and `imds.aws_dns_suffix`; nothing was sent"
    then = "hsm-enrol check"
