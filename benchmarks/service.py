"""The whole service as real processes on private servers, for measuring."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx

from tests.support.private_server import free_port
from tests.support.servers import PrivateMariadb
from tests.support.valkey import PrivateValkey

ROOT = Path(__file__).resolve().parents[1]
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"benchmark-secret-of-32-bytes-len").decode()


@asynccontextmanager
async def running_service(database: str, **settings: str) -> AsyncIterator[str]:
    """Run web and one worker on `sqlite` or `mariadb`; yields the address.

    Keyword arguments are settings without their prefix, e.g. `recognise_annotate="0"`.
    """
    folder = Path(tempfile.mkdtemp(prefix="muster-bench-"))
    try:
        with PrivateValkey(durable=True) as valkey, _database(database, folder) as server:
            url = await _database_url(server, folder)
            port = free_port()
            environment = _environment(folder, url, valkey.url, port, settings)
            _run(environment, "-m", "app.cli", "migrate")
            with (
                _process(environment, "-m", "app.cli", "web", "--port", str(port)),
                _process(environment, "-m", "worker"),
            ):
                address = f"http://127.0.0.1:{port}"
                await _wait_ready(address)
                yield address
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _database(kind: str, _folder: Path) -> Iterator[PrivateMariadb | None]:
    if kind == "sqlite":
        yield None
        return
    with PrivateMariadb(durable=True) as server:
        yield server


async def _database_url(server: PrivateMariadb | None, folder: Path) -> str:
    if server is None:
        return f"sqlite+aiosqlite:///{folder}/muster.db"
    return await server.create_database()


def _environment(
    folder: Path, database_url: str, redis_url: str, port: int, settings: dict[str, str]
) -> dict[str, str]:
    own = {
        "MUSTER_EMBEDDED": "1",
        "MUSTER_AUTH": "off",
        "MUSTER_SECRET_KEY": secrets.token_hex(32),
        "MUSTER_EMBEDDED_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "MUSTER_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "MUSTER_DATABASE_URL": database_url,
        "MUSTER_REDIS_URL": redis_url,
        "MUSTER_MEDIA_DIR": str(folder / "media"),
        "MUSTER_LOG_LEVEL": "warning",
    }
    chosen = {f"MUSTER_{name.upper()}": value for name, value in settings.items()}
    return {**os.environ, **own, **chosen}


def _run(environment: dict[str, str], *arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], env=environment, cwd=ROOT, check=True, timeout=120)


@contextmanager
def _process(environment: dict[str, str], *arguments: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, *arguments], env=environment, cwd=ROOT)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=35)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _wait_ready(address: str, limit_seconds: float = 60.0) -> None:
    async with asyncio.timeout(limit_seconds), httpx.AsyncClient(base_url=address, trust_env=False) as client:
        while True:
            try:
                if (await client.get("/v1/workers")).json()["items"]:
                    return
            except (httpx.HTTPError, KeyError, ValueError):
                pass
            await asyncio.sleep(0.1)
