"""A program with two children that hang, to be killed: `python -m tests.support.compute_parent PORT`."""

from __future__ import annotations

import asyncio
import sys

from tests.support.models import model
from tests.support.pictures import SHEEP
from worker.compute import Compute, ComputeSettings, PictureJob


async def main() -> None:
    """Let both children hang; each reports its pid to PORT."""
    hang = model("Hang", tell=int(sys.argv[1]))
    job = PictureJob(content=SHEEP.read_bytes(), model=hang, prompt="ALL")
    async with Compute(ComputeSettings(children=2)) as compute:
        await asyncio.gather(compute.run(job, 600), compute.run(job, 600))


if __name__ == "__main__":
    asyncio.run(main())
