"""Runs the agent, and kills it (SIGKILL, nothing is caught) right before or after a named function of its is called.

python kill_at.py before|after MODULE:NAME [nth] -- ARGUMENTS OF hsm-enrol
"""

import importlib
import os
import signal
import sys
from typing import Any


def die_at(when: str, place: str, nth: int = 1) -> None:
    """Have this process die at the nth call of `place`."""
    module_name, _, path = place.partition(":")
    owner: Any = importlib.import_module(module_name)
    *classes, name = path.split(".")
    for one in classes:
        owner = getattr(owner, one)
    whole = getattr(owner, name)
    calls = 0

    def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if when == "before" and calls == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        result = whole(*args, **kwargs)
        if when == "after" and calls == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, dying)
    for loaded in list(sys.modules.values()):  # whoever imported the name already
        if getattr(loaded, "__name__", "").startswith("hsm_enrol") and getattr(loaded, name, None) is whole:
            setattr(loaded, name, dying)


def main() -> int:
    when, place = sys.argv[1:3]
    cut = sys.argv.index("--")
    die_at(when, place, int(sys.argv[3]) if cut > 3 else 1)
    sys.argv = ["hsm-enrol", *sys.argv[cut + 1 :]]
    from hsm_enrol.__main__ import main as agent

    return agent()


if __name__ == "__main__":
    sys.exit(main())
