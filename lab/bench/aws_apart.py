"""Knows how to play AWS in a process of its own, so that its CPU is not counted as the verifier's.

`python -m lab.bench.aws_apart FOLDER COUNT` launches COUNT instances, writes `FOLDER/aws.json` and
`FOLDER/fleet.jsonl`, prints `ready` and serves until its standard input ends.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lab.aws import Aws
from lab.bench.asker import Facts


def main() -> None:
    """Launch, serve, wait."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    with Aws(folder / "aws") as aws:
        with (folder / "fleet.jsonl").open("w") as file:
            for _ in range(count):
                file.write(Facts.of(aws.launch()).to_json() + "\n")
        told = {
            "region": aws.region,
            "certificate": aws.certificate_pem,
            "ec2": aws.api.endpoint,
            "sts": aws.sts.connect,
            "ca_file": str(aws.sts.ca_file),
        }
        (folder / "aws.json").write_text(json.dumps(told))
        print("ready", flush=True)
        sys.stdin.read()
        print(json.dumps({"ec2": aws.api.seen, "sts": aws.sts.seen}), flush=True)


if __name__ == "__main__":
    main()
