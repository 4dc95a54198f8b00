"""Knows the boot's own command line: `enrol`, and options that have a value. Everything else is argparse's to read.

Imports nothing: a run with nothing to do reads its words here, and a first boot is spared the whole grammar.
"""

DEFAULT_CONFIG = "/etc/hsm-enrol/hsm-enrol.toml"
REASONS = ("boot", "cloud-init", "operator")
_ANYWHERE = ("--config", "--root")


class Words:
    """What the command line says: one attribute an option, as argparse's Namespace; here so that it need not come."""

    def __init__(self, **given: object) -> None:
        """Keep what is given."""
        self.__dict__.update(given)


def plain_enrol(argv: list[str]) -> dict[str, str] | None:
    """Give config, root and reason of a plain `enrol`, as argparse would; None when it has to look.

    `--name VALUE` and `--name=VALUE`, the last one counts; `--reason` belongs to the command, so it stands after it.
    """
    options = {"--config": DEFAULT_CONFIG, "--root": "", "--reason": "operator"}
    command, words = "", iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        if name in _ANYWHERE or (command and name == "--reason"):
            if not equals:
                value = next(words, "-")
                if value.startswith("-"):
                    return None
            if (name == "--reason" and value not in REASONS) or (name == "--root" and not value.startswith("/")):
                return None
            options[name] = value
        elif word == "enrol" and not command:
            command = word
        else:
            return None
    if not command:
        return None
    return {name.removeprefix("--"): value for name, value in options.items()}
