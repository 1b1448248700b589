"""What `muster doctor` looks at: each check says how it stands and, if badly, what to do."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from core.catalogue import ModelSpec
from core.errors import DatabaseUnavailable, QueueUnavailable, SettingsError
from core.foundation import Foundation
from core.settings import Settings
from core.store.engine import Database
from core.store.migrate import is_migrated
from core.store.workers import list_workers

_LOAD_SECONDS = 60.0
_MAX_OFFSET_SECONDS = 2.0
_MIN_FREE_BYTES = 1_000_000_000
_MIN_REDIS = (6, 2)
_LOAD_MODEL = (
    "import json, sys\n"
    "from core.catalogue import build_recogniser\n"
    "build_recogniser(sys.argv[1], json.loads(sys.argv[2])).load()\n"
)


class Health(StrEnum):
    """How a checked thing stands."""

    GOOD = "good"
    DOUBTFUL = "doubtful"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check found, and what to do about it."""

    subject: str
    health: Health
    detail: str
    remedy: str = ""


def _good(subject: str, detail: str) -> Finding:
    return Finding(subject=subject, health=Health.GOOD, detail=detail)


def _doubtful(subject: str, detail: str, remedy: str) -> Finding:
    return Finding(subject=subject, health=Health.DOUBTFUL, detail=detail, remedy=remedy)


def _bad(subject: str, detail: str, remedy: str) -> Finding:
    return Finding(subject=subject, health=Health.BAD, detail=detail, remedy=remedy)


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Check one thing after the other."""
    yield _media_folder(settings)
    try:
        async with Foundation.open(settings) as base:
            async for finding in _database(base.db):
                yield finding
            async for finding in _redis(base):
                yield finding
            for model in base.default_models():
                yield await _model(model)
    except SettingsError as error:
        yield _bad("settings", error.message, "`muster settings` says what each variable means")


async def _database(db: Database) -> AsyncIterator[Finding]:
    try:
        await db.ping()
        migrated = await is_migrated(db)
    except DatabaseUnavailable:
        remedy = "start it, and check MUSTER_DATABASE_URL: host, port, user, password, name"
        yield _bad("database", f"{db.dialect} does not answer", remedy)
        return
    if not migrated:
        yield _bad(
            "database", f"{db.dialect} answers, but its schema is not this version's", "muster migrate"
        )
        return
    yield _good("database", f"{db.dialect} answers, schema up to date")
    yield await _clock(db)
    workers = await list_workers(db)
    if workers:
        yield _good("workers", f"{len(workers)} alive, {sum(each.slots for each in workers)} slots")
    else:
        yield _doubtful("workers", "none is alive; tasks wait", "start one with: muster worker")


async def _clock(db: Database) -> Finding:
    before = datetime.now(UTC)
    theirs = await db.now()
    middle = before + (datetime.now(UTC) - before) / 2
    offset_seconds = (theirs - middle).total_seconds()
    detail = f"{offset_seconds:+.3f} s against the database server's"
    if abs(offset_seconds) <= _MAX_OFFSET_SECONDS:
        return _good("clock", detail)
    return _doubtful(
        "clock", detail, "let both machines keep time by NTP; signed links and logs depend on it"
    )


async def _redis(base: Foundation) -> AsyncIterator[Finding]:
    try:
        async with base.connections.guarded():
            found: dict[str, Any] = await base.connections.retrying.info()
    except QueueUnavailable as error:
        yield _bad("redis", error.message, "start Redis or Valkey, and check MUSTER_REDIS_URL")
        return
    version = str(found.get("valkey_version") or found.get("redis_version") or "0")
    name = "Valkey" if "valkey_version" in found else "Redis"
    if _parts(version) < _MIN_REDIS:
        yield _bad("redis", f"{name} {version}", "use Redis 6.2 or newer, or Valkey")
    else:
        yield _good("redis", f"{name} {version} answers")
    policy = str(found.get("maxmemory_policy", "unknown"))
    if policy == "noeviction":
        yield _good("redis eviction", policy)
    else:
        remedy = "set maxmemory-policy noeviction, or waiting tasks vanish from the queue for a while"
        yield _bad("redis eviction", policy, remedy)
    if int(found.get("aof_enabled", 0)):
        yield _good("redis durability", "append-only file on")
    else:
        remedy = "set appendonly yes; without it every restart of Redis means rebuilding the queue"
        yield _doubtful("redis durability", "append-only file off", remedy)


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


async def _model(model: ModelSpec) -> Finding:
    """Load a model in a process of its own, as the workers do."""
    subject = f"model {model.name}"
    loading = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", _LOAD_MODEL, model.path, json.dumps(dict(model.options))),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_LOAD_SECONDS):
            _, said = await loading.communicate()
    except TimeoutError:
        loading.kill()
        await loading.wait()
        return _bad(
            subject, f"not loaded within {_LOAD_SECONDS:.0f} s", "look at the machine's load and disk"
        )
    if loading.returncode == 0:
        return _good(subject, "loads")
    reason = (said.decode(errors="replace").strip().splitlines() or ["it died"])[-1]
    return _bad(subject, reason, "check MUSTER_RECOGNISE_MODEL_PATH, or install Muster again")


def _media_folder(settings: Settings) -> Finding:
    folder = settings.media.dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as trial:
            trial.write(b"1")
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        remedy = f"make it writable for user {os.getuid()}, or set MUSTER_MEDIA_DIR"
        return _bad("media folder", f"{folder}: {error.strerror}", remedy)
    detail = f"{folder} is writable, {free_bytes / 1e9:.1f} GB free"
    if free_bytes < _MIN_FREE_BYTES:
        return _doubtful("media folder", detail, "make room, or lower MUSTER_RETENTION_COMPLETED_DAYS")
    return _good("media folder", detail)
