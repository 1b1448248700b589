"""Start a program that ends with the process that started it.

Run as `python -I -S leash.py <parent pid> <program> [argument …]`: it asks the kernel for SIGKILL
when the parent dies and becomes the program, with the same process id. Only the standard library,
so that it costs a few milliseconds. Where the kernel is not Linux the program is started all the
same, without that promise.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Hold on to the parent, then become the program."""
    parent_pid, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent_pid):
        # The parent died before the kernel was asked.
        sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
