"""Knows the command line: argv in, exit status out."""

from __future__ import annotations

import argparse
import io
import os
import sys
from typing import Any, NoReturn

from hsm_enrol.errors import WireError
from hsm_verifier import __version__
from hsm_verifier.cli import (
    admin,
    answer_key,
    audit,
    aws_certs,
    bundle,
    check_policy,
    grant,
    group,
    init,
    ledger,
    policy,
    serve,
    tls,
)
from hsm_verifier.cli.common import CliError
from hsm_verifier.evidence.certs import CertificateError
from hsm_verifier.inventory.static import StaticError
from hsm_verifier.ledger.engines import LedgerAddressError
from hsm_verifier.ledger.store import LedgerError
from hsm_verifier.policy import PolicyError
from hsm_verifier.refusal import Refusal
from hsm_verifier.settings import SettingsError
from hsm_verifier.vault import VaultError

COMMANDS = (
    ("init", init, "make keys, ledger, audience and samples in DIR"),
    ("serve", serve, "answer instances"),
    ("bundle", bundle, "publish, rotate, list and show bundles; resume a halted PIN"),
    ("aws-certs", aws_certs, "AWS's certificates for identity documents"),
    ("check-policy", check_policy, "what an instance would get and why not, from a file of facts"),
    ("group", group, "show the policy's groups"),
    ("policy", policy, "what another policy would have decided"),
    ("grant", grant, "let an instance be served once more"),
    ("ledger", ledger, "whom we have served"),
    ("audit", audit, "decisions, and whether the record is whole"),
    ("answer-key", answer_key, "change the key that signs answers"),
    ("tls", tls, "another TLS certificate by the same CA"),
    ("admin", admin, "who may sign in to the operators' page"),
)


class _Parser(argparse.ArgumentParser):
    """argparse, with the exit status of sysexits for wrong usage, and no short forms: `--pin 1234` named a file."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(os.EX_USAGE, f"{self.prog}: error: {message}\n")


def make_parser() -> argparse.ArgumentParser:
    """Give the whole command line."""
    parser = _Parser(prog="hsm-verifier", description="The verifying party of hsm-enrol.")
    parser.add_argument("--version", action="version", version=f"hsm-verifier {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module, words in COMMANDS:
        one = commands.add_parser(name, help=words, description=words)
        one.set_defaults(run=getattr(module, "run", None))
        module.add(one)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; faults are one line on stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.encoding.lower() != "utf-8":
        sys.stdout.reconfigure(errors="backslashreplace")  # an older locale; so Python does it on stderr
    parser = make_parser()
    args, more = parser.parse_known_args(argv)
    if more:  # what follows an unknown option may be a secret
        names = [word.partition("=")[0] for word in more if word.startswith("-")]
        parser.error(f"unrecognized arguments: {' '.join(names or more)}")
    try:
        return int(args.run(args))
    except CliError as error:
        return _fail(str(error), error.status)
    except (SettingsError, PolicyError, StaticError, CertificateError, LedgerAddressError) as error:
        return _fail(str(error), 78)
    except (LedgerError, VaultError) as error:
        return _fail(str(error), 69)
    except WireError as error:
        return _fail(f"{error.what} ({error.rule})", 65)
    except Refusal as refusal:
        return _fail(refusal.detail, 75)
    except BrokenPipeError:  # `... | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _fail(f"{error.filename or ''}: {error.strerror or error}".removeprefix(": "), 74)
    except UnicodeEncodeError:
        return _fail("an argument holds bytes that are no UTF-8", 64)
    except RecursionError:
        return _fail("a file is nested too deep", 65)
    except KeyboardInterrupt:
        return 130


def _fail(text: str, status: int) -> int:
    print(f"hsm-verifier: {text}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
