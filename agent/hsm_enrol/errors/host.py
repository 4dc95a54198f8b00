"""Knows what can go wrong on this host: how we were called, settings, files, the undo, another run, a bug of ours."""

from hsm_enrol.errors.base import EnrolError


class Usage(EnrolError):
    """Exit 64, `usage`."""

    status = 64
    reason = "usage"
    message_id = "7a0840bd8818464b96693e6f378fb4dd"
    says = "{fault}"
    hint = "see `hsm-enrol --help`"
    then = "man hsm-enrol"


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
    hint = "repair the file system, then run `hsm-enrol enrol` again: it finishes the undo before anything else; where the copy named .hsm-enrol.* beside that file is gone, mend the file by hand and remove /var/lib/hsm-enrol/undo"
    then = "hsm-enrol enrol"


class UndoDamaged(EnrolError):
    """Exit 73, `undo_damaged`."""

    status = 73
    reason = "undo_damaged"
    message_id = "a2754a5ece0e46b39232b2305c23d646"
    says = "the journal of an unfinished run, {path}, is damaged"
    hint = "compare the copies named .hsm-enrol.* beside Chrystoki.conf and the certificates with the originals, then remove that folder"
    then = "ls -la {path}"


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
    says = "stopped by {signal}; nothing is left half done"
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


class KeyLost(EnrolError):
    """Exit 77, `key_lost`."""

    status = 77
    reason = "key_lost"
    message_id = "58edbd4a140e41f3acbd300cab53b60c"
    says = "the client's private key at {path} is gone or damaged, and only the verifier has it"
    hint = "ask for a grant, then `hsm-enrol re-enrol`; everything else was repaired"
    then = "hsm-enrol re-enrol"


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
    hint = "settings: copy /usr/share/hsm-enrol/hsm-enrol.toml.example there and fill in its [verifier] part; an answer key: copy the verifier's answer-key.pem there, or correct `verifier.answer_keys`"
    then = "man hsm-enrol.toml"


class CredentialsMissing(EnrolError):
    """Exit 78, `credentials_missing`."""

    status = 78
    reason = "credentials_missing"
    message_id = "c681b4bca72b4ae4a9ad997ba699bec9"
    says = "deliver.pin = {pin} needs systemd-creds, and {path} is not there"
    hint = "it comes with systemd 250; without it only deliver.pin = none can be kept across a reboot"
    then = "man hsm-enrol.toml"


class NotRoot(EnrolError):
    """Exit 78, `not_root`."""

    status = 78
    reason = "not_root"
    message_id = "2fdabd36095f4effa83f76adc8bdb486"
    says = "{command} writes to this host and needs root"
    hint = "use sudo"
    then = "sudo hsm-enrol {command}"
