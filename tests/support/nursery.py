"""Worker processes that are replaced when they die: `python -m tests.support.nursery 4`.

A worker takes its time to import what it needs. This process does so once and forks itself, so that a test
can afford many deaths; what it forks is a worker like any other. On SIGTERM it kills them all and
prints how those before had ended, as JSON from exit status to number.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections import Counter
from typing import NoReturn

from worker import __main__ as worker

_PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""


class _ToldToStopError(Exception):
    """SIGTERM came."""


def _stop(number: int, _frame: object) -> NoReturn:
    raise _ToldToStopError(number)


def _born() -> int:
    """Fork a worker; gives its pid."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        status = 1
        try:
            status = worker.main()
        finally:
            os._exit(status)
    return pid


def main(count: int) -> None:
    """Keep so many workers alive until told to stop."""
    endings: Counter[int] = Counter()
    living: set[int] = set()
    signal.signal(signal.SIGTERM, _stop)
    try:
        while True:
            while len(living) < count:
                living.add(_born())
            pid, status = os.wait()
            living.discard(pid)
            endings[os.waitstatus_to_exitcode(status)] += 1
    except _ToldToStopError:
        for pid in living:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    sys.stdout.write(json.dumps(endings))


if __name__ == "__main__":
    main(int(sys.argv[1]))
