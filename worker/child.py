"""The program of a child process: `python -m worker.child`, frames in on stdin, frames out on stdout.

It is started by worker/compute.py, limits itself before it sees a picture, ends with its parent
and is killed from outside when it takes too long. It has no network client, no database, no Redis
and none of the service's environment.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import asdict
from typing import BinaryIO

from core.errors import PictureError, RecogniserCrashed
from worker.examine import examine
from worker.jobs import ChildSetup, Header, job_from, pack, read_frame, setup_from
from worker.recognisers.registry import LoadedRecognisers

_PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""
_PARENT_CHECK_SECONDS = 0.5
_CPU_MARGIN_SECONDS = 5


def main() -> None:
    """Serve jobs until the parent closes the pipe or is gone."""
    inbox, outbox = _take_pipes()
    first = read_frame(inbox)
    if first is None:
        return
    setup = setup_from(first[0])
    _end_with_parent(setup.parent_pid)
    _limit(setup)
    recognisers = LoadedRecognisers(setup.threads)
    with suppress(BrokenPipeError):  # the parent died while this was loading, and nobody listens
        _send(outbox, {"ready": True, "failed": _warm(recognisers, setup)})
        while (frame := read_frame(inbox)) is not None:
            _send(outbox, *_answer(recognisers, *frame))


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the pipes to ourselves: what a plug-in prints goes to stderr, what it reads is empty."""
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return inbox, outbox


def _end_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies; where it cannot, look at it twice a second."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # The parent alone ends its children: a drain must be able to finish what runs.
        signal.signal(ignored, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    else:
        threading.Thread(target=_watch_parent, args=(parent_pid,), daemon=True).start()
    if os.getppid() != parent_pid:
        os._exit(1)


def _watch_parent(parent_pid: int) -> None:
    while os.getppid() == parent_pid:
        time.sleep(_PARENT_CHECK_SECONDS)
    os._exit(1)


def _limit(setup: ChildSetup) -> None:
    limits = {
        resource.RLIMIT_AS: setup.memory_bytes,
        resource.RLIMIT_NOFILE: setup.open_files,
        resource.RLIMIT_CORE: 0,
    }
    for which, amount in limits.items():
        hard = resource.getrlimit(which)[1]
        allowed = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(which, (allowed, allowed))


def _warm(recognisers: LoadedRecognisers, setup: ChildSetup) -> dict[str, str]:
    """Load the models wanted from the start; tells which failed and why."""
    failed: dict[str, str] = {}
    for model in setup.models:
        try:
            recognisers.get(model.path, model.options)
        except Exception as error:
            traceback.print_exc()
            failed[model.name] = f"{type(error).__name__}: {error}"
    return failed


def _answer(recognisers: LoadedRecognisers, header: Header, content: bytes) -> tuple[Header, bytes]:
    """Turn every ending of a job but death into a frame: this is an attempt's edge."""
    try:
        _allow_cpu(header["cpu_seconds"])
        outcome = examine(job_from(header, content), recognisers)
    except PictureError as error:
        return {"error": error.code, "message": error.message}, b""
    except MemoryError:
        return {
            "error": RecogniserCrashed.code,
            "message": "The recogniser ran out of memory.",
            "end": True,
        }, b""
    except Exception as error:
        traceback.print_exc()
        message = f"The recogniser failed with {type(error).__name__}."
        return {"error": RecogniserCrashed.code, "message": message}, b""
    return {"findings": asdict(outcome.findings)}, outcome.annotated or b""


def _allow_cpu(seconds: float) -> None:
    """Move the CPU limit to what this job may burn; it holds also while the parent itself stands still."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime + seconds) + _CPU_MARGIN_SECONDS
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(
        resource.RLIMIT_CPU, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard)
    )


def _send(outbox: BinaryIO, header: Header, blob: bytes = b"") -> None:
    outbox.write(pack(header, blob))
    outbox.write(blob)
    outbox.flush()


if __name__ == "__main__":
    main()
