"""Knows how to stand up AWS Secrets Manager by moto, and the aws command that asks it, in an environment of its own."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3

from lab import children
from lab.bench.process import Failed

ENVIRONMENT = Path(__file__).parents[2] / ".bench/venv"
NAME = "luna-bundle"


@contextlib.contextmanager
def serving(folder: Path, bundle: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Serve one secret, the bundle; gives the environment that the aws command needs."""
    port = children.free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AWS_ACCESS_KEY_ID": "AKIALAB",
        "AWS_SECRET_ACCESS_KEY": "lab",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    log = folder / "moto.log"
    process = children.start([sys.executable, "-m", "moto.server", "-p", str(port)], log, env=environment)
    try:
        children.wait(process, log, lambda: _listens(port))
        client = boto3.client(
            "secretsmanager",
            region_name="eu-central-1",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="AKIALAB",
            aws_secret_access_key="lab",
        )
        client.create_secret(Name=NAME, SecretString=json.dumps(bundle))
        yield environment
    finally:
        children.stop(process, number=signal.SIGTERM)


def argv(environment: Path = ENVIRONMENT) -> list[str]:
    """Give the command. Raises Failed unless it runs on our own Python, which is half of what both of us take."""
    told = dict(line.split(" = ", 1) for line in (environment / "pyvenv.cfg").read_text().splitlines() if " = " in line)
    theirs, ours = (told["home"], told["version"]), (f"{sys.base_prefix}/bin", platform.python_version())
    if theirs != ours:
        raise Failed(
            f"aws has Python {' '.join(theirs)}, and we {' '.join(ours)}: run packaging/dev/bench.sh with ours"
        )
    aws = environment / "bin/aws"
    return [str(aws), "secretsmanager", "get-secret-value", "--secret-id", NAME, "--query", "SecretString"]


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), children.connect(port):
        return True
    return False
