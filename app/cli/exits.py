"""Exit statuses that scripts can rely on."""

from __future__ import annotations

from typing import Final

FAILED: Final = 1
"""It was tried and did not succeed."""
MISUSED: Final = 2
"""It will fail again, however often it is started: wrong usage, or a wrong setting."""
UNREACHABLE: Final = 3
"""No service there."""
INTERRUPTED: Final = 130
"""By Ctrl-C."""
