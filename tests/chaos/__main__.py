"""`python -m tests.chaos`: one chaos run; ends with a table, and with status 1 when a promise was broken."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.faults import FaultKind
from tests.chaos.installation import Shape
from tests.chaos.report import table
from tests.chaos.run import Orders, run


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="decides faults, tasks and receivers; random if absent")
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--poison", type=int, default=10, help="tasks that kill their worker, among them")
    parser.add_argument("--seconds", type=float, default=130, help="time of faults")
    parser.add_argument("--merciless", action="store_true", help="faults until every task is accepted")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two faults")
    parser.add_argument("--quiet", type=float, default=60, help="seconds in which all must end afterwards")
    parser.add_argument("--database", choices=("mariadb", "sqlite"), default="mariadb")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--lease", type=float, default=5.0, help="MUSTER_QUEUE_LEASE_SECONDS of the run")
    parser.add_argument(
        "--only",
        action="append",
        choices=[kind.name.lower() for kind in FaultKind],
        default=[],
        help="this kind of fault; may be given more than once",
    )
    parser.add_argument("--dawdling", type=float, default=0.02, help="share of tasks that take seconds")
    return parser.parse_args()


def main() -> int:
    """Run; the folder with the logs stays when a promise was broken."""
    given = _arguments()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    sys.stdout.write(f"seed {seed}\n")
    sys.stdout.flush()
    orders = Orders(
        seed=seed,
        tasks=given.tasks,
        poison=given.poison,
        seconds=given.seconds,
        every_seconds=given.every,
        quiet_seconds=given.quiet,
        is_merciless=given.merciless,
        only=tuple(FaultKind[name.upper()] for name in given.only),
        dawdling=given.dawdling,
        shape=Shape(database=given.database, workers=given.workers, lease_seconds=given.lease),
    )
    folder = Path(tempfile.mkdtemp(prefix="muster-chaos-"))
    outcome = asyncio.run(run(orders, folder))
    sys.stdout.write(table(orders, outcome) + "\n")
    if outcome.breaches:
        sys.stdout.write(f"\nseed {seed}: {len(outcome.breaches)} breaches; logs in {folder}\n")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
