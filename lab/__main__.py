"""Knows the laboratory's commands: `python -m lab demo` and `python -m lab serve`."""

import sys


def main() -> int:
    """Run one of them."""
    match sys.argv[1:]:
        case ["demo"]:
            from lab.demo import main as run  # noqa: PLC0415
        case ["serve"]:
            from lab.serve import main as run  # noqa: PLC0415
        case _:
            print("usage: python -m lab demo | serve", file=sys.stderr)
            return 64
    return run()


if __name__ == "__main__":
    sys.exit(main())
