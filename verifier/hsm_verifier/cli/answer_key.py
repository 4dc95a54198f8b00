"""Knows how to change the key that signs answers without leaving an instance behind: two are valid for a while.

`rotate` adds a new key and prefers it; an instance that pins only the old one still gets answers by it. When all pin
the new one, `rotate --finish` takes the old one out.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from hsm_enrol.wire.keys import PublicJwk, generate_key, private_from_pem, private_to_pem, public_to_pem
from hsm_verifier.cli.common import CliError, note, settings_of, with_config
from hsm_verifier.cli.layout import sentence
from hsm_verifier.durable import read_secret, write_file
from hsm_verifier.settings import Settings, SettingsError, load_settings

_LINE = re.compile(r"^answer_keys[ \t]*=[ \t]*\[[^\]\n]*\][ \t]*$", re.MULTILINE)


def add(parser: argparse.ArgumentParser) -> None:
    """Declare arguments."""
    commands = parser.add_subparsers(dest="action", required=True)
    rotate = with_config(commands.add_parser("rotate", help="add a new key; with --finish drop the old one"))
    rotate.add_argument("--finish", action="store_true")
    rotate.set_defaults(run=run_rotate)


def run_rotate(args: argparse.Namespace) -> int:
    """Change keys and the settings file's one line that names them."""
    settings = settings_of(args)
    keys = settings.state.answer_keys
    if args.finish:
        if len(keys) == 1:
            raise CliError("no rotation is under way")
        key, old = (private_from_pem(read_secret(Path(one))) for one in keys)
        # Under this name a new instance gets its pin: by the old one it would be told `unsupported` for ever.
        pin = settings.path.parent / "answer-key.pem"
        write_file(pin, public_to_pem(key.public_key()), mode=0o644, replace=True)
        _name_keys(settings, keys[:1])
        retired = Path(keys[1])
        retired.unlink()
        note(settings, "answer_key_retired", kid=_kid(old))
        print(sentence(f"{retired.name} is gone; restart hsm-verifier, then take the old public key off the instances"))
        return 0
    if len(keys) > 1:
        raise CliError("a rotation is under way; end it with --finish")
    key = generate_key()
    place = _free_name(Path(keys[0]))
    write_file(place, private_to_pem(key), mode=0o600)
    public = settings.path.parent / f"{place.stem}.pub.pem"
    write_file(public, public_to_pem(key.public_key()), mode=0o644)
    _name_keys(settings, (str(place), keys[0]))
    note(settings, "answer_key_added", kid=_kid(key))
    print(sentence(f"made {place.name}; restart hsm-verifier, add {public} to each instance's answer_keys,"))
    print("and when all have it: hsm-verifier answer-key rotate --finish")
    return 0


def _kid(key: ec.EllipticCurvePrivateKey) -> str:
    return PublicJwk.from_key(key.public_key()).thumbprint


def _free_name(old: Path) -> Path:
    stem = re.sub(r"-[0-9]+\Z", "", old.stem)
    numbers = [
        int(found[1])
        for item in old.parent.iterdir()
        if (found := re.fullmatch(rf"{re.escape(stem)}-([0-9]+)\.pem", item.name))
    ]
    return old.with_name(f"{stem}-{max(numbers, default=1) + 1}.pem")


def _name_keys(settings: Settings, keys: tuple[str, ...]) -> None:
    """Rewrite exactly the answer_keys line; the rest of the operator's file stays as it is."""
    text = settings.path.read_text(encoding="utf-8")
    folder = settings.path.parent
    shown = [str(Path(key).relative_to(folder)) if Path(key).is_relative_to(folder) else key for key in keys]
    line = "answer_keys = [" + ", ".join(f'"{name}"' for name in shown) + "]"
    changed, count = _LINE.subn(lambda _found: line, text)
    if count != 1:
        raise CliError(f"{settings.path}: write this line yourself: {line}", 78)
    mode = settings.path.stat().st_mode & 0o777
    write_file(settings.path, changed.encode(), mode=mode, replace=True)
    try:
        same = load_settings(settings.path).state.answer_keys == keys
    except SettingsError:
        same = False
    if not same:
        write_file(settings.path, text.encode(), mode=mode, replace=True)
        raise CliError(f"{settings.path}: write this line yourself: {line}", 78)
