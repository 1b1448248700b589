"""Show the whole service at work: `make demo`, or `python -m demo`.

It starts a Muster of its own, lets it count two photos, verifies the signed callbacks and ends by
itself: exit status 0 when everything was as expected, else 1 and what was not.
"""

from __future__ import annotations

import sys
import time

from muster_client import MusterClientError
from rich.console import Console
from rich.markup import escape

from demo.story import Story
from demo.surroundings import DemoFailed, neighbours, own_service


def main() -> int:
    """Run the demonstration."""
    console = Console(highlight=False)
    began = time.monotonic()
    console.print("[bold]Muster counts two photos[/]\n")
    try:
        with neighbours() as around, own_service() as service:
            started_seconds = time.monotonic() - began
            console.print(f"Service ready after {started_seconds:.1f} s: {service.url}\n")
            Story(console, service, around).tell()
            service.stop()
    except (DemoFailed, MusterClientError) as error:
        console.print(f"\n[bold red]The demo failed:[/] {escape(str(error))}", soft_wrap=True)
        return 1
    console.print(f"\n[bold green]All as expected[/], in {time.monotonic() - began:.1f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
