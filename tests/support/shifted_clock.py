"""A worker whose own clock jumps: SIGUSR1 sets it forward by a day, SIGUSR2 back by two.

What reads the clock in Python is replaced before anything of ours is imported. The system's clock stays,
since other processes, the servers among them, live by it.
"""

from __future__ import annotations

import datetime as datetime_module
import signal
import sys
import time
from types import FrameType
from typing import Self

_DAY_SECONDS = 86_400
_read_seconds, _read_ns = time.time, time.time_ns
_RealDatetime = datetime_module.datetime
_shift = [0]


def _shifted_seconds() -> float:
    return _read_seconds() + _shift[0]


def _shifted_ns() -> int:
    return _read_ns() + _shift[0] * 1_000_000_000


class _ShiftedDatetime(_RealDatetime):
    """A datetime whose now is shifted."""

    @classmethod
    def now(cls, tz: datetime_module.tzinfo | None = None) -> Self:
        return cls.fromtimestamp(_shifted_seconds(), tz)


def _jump(number: int, _frame: FrameType | None) -> None:
    _shift[0] += _DAY_SECONDS if number == signal.SIGUSR1 else -2 * _DAY_SECONDS
    sys.stderr.write(f'{{"event": "clock.jumped", "shift_seconds": {_shift[0]}}}\n')


if __name__ == "__main__":
    time.time = _shifted_seconds
    time.time_ns = _shifted_ns
    vars(datetime_module)["datetime"] = _ShiftedDatetime
    for each in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(each, _jump)
    from worker.__main__ import main

    sys.exit(main())
