"""Named places where a test may stop this process, to show who repairs what it leaves behind.

`MUSTER_TEST_POINT=record.written` kills the process when it comes there, `record.written:3` when it
comes there for the third time, `record.written=stop` freezes it until a SIGCONT. The foundation arms
the point, and only where authentication is off; else a point is a loop over an empty list.
docs/crash-points.md says what dies at which.
"""

from __future__ import annotations

import os
import re
import signal
from dataclasses import dataclass
from typing import Literal

import structlog

log = structlog.get_logger()

POINTS = frozenset(
    {
        "submission.written",  # rows of new tasks inserted, not committed
        "submission.committed",  # committed, not queued
        "submission.queued",  # queued, not answered
        "cancel.committed",  # committed, the entry still in Redis
        "worker.opened",  # all is open, the worker not registered
        "claim.answered",  # leased in Redis, not started in the database
        "picture.recognised",  # nothing of it recorded
        "record.written",  # an attempt's record and its deliveries written, not committed
        "record.committed",  # the lease not settled
        "record.settled",  # the deliveries not queued
        "try.written",  # what the receiver answered written, not committed
        "leases.reaped",  # taken over in Redis, the rows not asked
        "tasks.taken_back",  # committed, not queued
        "page.read",  # waiting rows read, their entries not added
    }
)
_SPELLING = re.compile(r"(?P<name>[a-z_]+\.[a-z_]+)(?::(?P<nth>[1-9]\d{0,5}))?(?:=(?P<action>kill|stop))?")


@dataclass(slots=True, kw_only=True)
class _Armed:
    name: str
    visits_left: int
    action: Literal["kill", "stop"]

    def visit(self) -> None:
        self.visits_left -= 1
        if self.visits_left != 0:
            return
        log.warning("testpoint.reached", point=self.name, action=self.action)
        os.kill(os.getpid(), signal.SIGKILL if self.action == "kill" else signal.SIGSTOP)


_armed: list[_Armed] = []


def reach(name: str) -> None:
    """Say that the process has come to a point."""
    for point in _armed:
        if point.name == name:
            point.visit()


def arm(spelling: str) -> None:
    """Stop this process at a point, from now on; raises ValueError for one that there is not."""
    match = _SPELLING.fullmatch(spelling)
    if match is None or match["name"] not in POINTS:
        raise ValueError(f"is name, name:number or name=stop; names: {', '.join(sorted(POINTS))}")
    action: Literal["kill", "stop"] = "stop" if match["action"] == "stop" else "kill"
    _armed[:] = [_Armed(name=match["name"], visits_left=int(match["nth"] or 1), action=action)]
    log.warning("testpoint.armed", point=match["name"], action=action)
