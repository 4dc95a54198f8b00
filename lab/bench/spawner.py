"""Knows how to start processes from a small one, since a child's peak memory begins with its parent's (getrusage(2)).

`python -IS spawner.py` reads one JSON line a run (argv, environment, log, limit) and answers with one (status, wall,
cpu, peak): seconds and KiB. What cannot be started has status 127; what is not through after `limit` seconds is killed.
"""

import json
import os
import signal
import sys
import time

NOT_STARTED = 127


def run(argv: list[str], environment: dict[str, str], log: str, limit: float) -> dict[str, float]:
    """Run one to its end."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
    begin = time.perf_counter()
    try:
        pid = os.posix_spawn(argv[0], argv, environment, file_actions=actions)
    except OSError as error:
        os.write(output, str(error).encode())
        os.close(output)
        os.close(null)
        return {"status": NOT_STARTED, "wall": 0.0, "cpu": 0.0, "peak": 0}
    signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, limit)
    _, status, used = os.wait4(pid, 0)
    end = time.perf_counter()
    signal.setitimer(signal.ITIMER_REAL, 0)
    os.close(output)
    os.close(null)
    return {
        "status": os.waitstatus_to_exitcode(status),
        "wall": end - begin,
        "cpu": used.ru_utime + used.ru_stime,
        "peak": used.ru_maxrss,
    }


for line in sys.stdin:
    print(json.dumps(run(**json.loads(line))), flush=True)
