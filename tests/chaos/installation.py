"""A whole installation to be ill-treated: servers, processes, receivers, and proxies between all of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from core.settings import Settings
from core.store.engine import Database
from core.store.migrate import upgrade
from tests.chaos.fault_proxy import FaultProxy, to_port, to_socket
from tests.chaos.faults import Link
from tests.chaos.fleet import Fleet, Kept
from tests.chaos.receivers import Receiver
from tests.chaos.recognisers import INSTALLED
from tests.support.behaviours import jpeg, reply
from tests.support.http_servers import ImageServer
from tests.support.private_server import free_port
from tests.support.servers import PrivateMariadb
from tests.support.sources import ROOT
from tests.support.valkey import PrivateValkey
from tests.support.worker_bench import SECRET, worker_settings
from tests.support.worker_process import environment_of

RETRY_SECONDS = (0.5, 1, 1, 2, 2, 3, 3, 3, *(5,) * 40)
"""Waits between tries of a callback: those of the product, shortened so that a run sees many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How large the installation is, and which settings are shortened."""

    database: str = "mariadb"
    workers: int = 4
    webs: int = 2
    receivers: int = 4
    lease_seconds: float = 5.0

    def changes(self) -> dict[str, Any]:
        """The settings that differ from the defaults."""
        return {
            "queue": {"lease_seconds": self.lease_seconds},
            "delivery": {
                "schedule_seconds": RETRY_SECONDS,
                "timeout_seconds": 3.0,
                "connect_timeout_seconds": 2.0,
                "breaker_seconds": 1.0,
            },
            "fetch": {"timeout_seconds": 5.0},
            "recognise": {"children": 1, "recognisers": INSTALLED},
            "worker": {"slots": 4},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What a run strikes at and looks into."""

    folder: Path
    valkey: PrivateValkey
    server: PrivateMariadb | None
    db: Database
    """Past the proxy, for looking."""
    settings: Settings
    links: Mapping[Link, list[FaultProxy]]
    workers: list[Kept]
    webs: list[Kept]
    receivers: list[Receiver]
    callback_urls: list[str]
    picture_url: str
    web_urls: list[str]


@asynccontextmanager
async def open_installation(shape: Shape, folder: Path, seed: int) -> AsyncIterator[Installation]:
    """Start everything; all of it is gone afterwards."""
    async with AsyncExitStack() as stack:
        valkey, server, direct_url = await _start_servers(stack, shape, folder)
        links = await _open_links(stack, valkey, server)
        settings = _settings(shape, folder, direct_url, links)
        direct = settings.database.model_copy(update={"url": direct_url})
        await upgrade(direct)
        db = Database(direct)
        stack.push_async_callback(db.close)
        receivers = [
            await stack.enter_async_context(Receiver(SECRET, seed + number))
            for number in range(shape.receivers)
        ]
        pictures = await stack.enter_async_context(ImageServer())
        pictures.default = reply(200, jpeg())
        links[Link.CALLBACK] = [await _proxy(stack, one.port) for one in receivers]
        links[Link.PICTURE] = [await _proxy(stack, pictures.port)]
        ports = [free_port() for _ in range(shape.webs)]
        links[Link.WEB] = [await _proxy(stack, port) for port in ports]
        webs, workers = _processes(shape, settings, ports, folder)
        await stack.enter_async_context(Fleet([*webs, *workers]))
        yield Installation(
            folder=folder,
            valkey=valkey,
            server=server,
            db=db,
            settings=settings,
            links=links,
            workers=workers,
            webs=webs,
            receivers=receivers,
            callback_urls=[f"http://127.0.0.1:{proxy.port}/hook" for proxy in links[Link.CALLBACK]],
            picture_url=f"http://127.0.0.1:{links[Link.PICTURE][0].port}/cow.jpg",
            web_urls=[f"http://127.0.0.1:{proxy.port}" for proxy in links[Link.WEB]],
        )


async def _start_servers(
    stack: AsyncExitStack, shape: Shape, folder: Path
) -> tuple[PrivateValkey, PrivateMariadb | None, str]:
    valkey = PrivateValkey(durable=True)
    await asyncio.to_thread(stack.enter_context, valkey)
    if shape.database == "sqlite":
        return valkey, None, f"sqlite+aiosqlite:///{folder / 'muster.db'}"
    server = PrivateMariadb()
    await asyncio.to_thread(stack.enter_context, server)
    database = make_url(await server.create_database()).database
    return valkey, server, server.tcp_url(str(database))


async def _open_links(
    stack: AsyncExitStack, valkey: PrivateValkey, server: PrivateMariadb | None
) -> dict[Link, list[FaultProxy]]:
    links = {Link.REDIS: [await stack.enter_async_context(FaultProxy(to_socket(str(valkey.socket))))]}
    if server is not None:
        links[Link.DATABASE] = [await _proxy(stack, server.port)]
    return links


def _settings(
    shape: Shape, folder: Path, direct_url: str, links: Mapping[Link, list[FaultProxy]]
) -> Settings:
    """Lead every process through the proxies."""
    database_url = direct_url
    if Link.DATABASE in links:
        port = links[Link.DATABASE][0].port
        database_url = make_url(direct_url).set(port=port).render_as_string(hide_password=False)
    redis_url = f"redis://127.0.0.1:{links[Link.REDIS][0].port}/0"
    return worker_settings(database_url, redis_url, folder, shape.changes())


async def _proxy(stack: AsyncExitStack, port: int) -> FaultProxy:
    return await stack.enter_async_context(FaultProxy(to_port(port)))


def _processes(
    shape: Shape, settings: Settings, ports: list[int], folder: Path
) -> tuple[list[Kept], list[Kept]]:
    # The web process is started with -P; the recognisers of this run are found by this path.
    environment = {**os.environ, **environment_of(settings), "PYTHONPATH": str(ROOT)}
    kept = partial(Kept, environment=environment)
    webs = [
        kept(f"web-{number}", ("-m", "app.cli", "web", "--port", str(port)), log=folder / f"web-{number}.log")
        for number, port in enumerate(ports, 1)
    ]
    workers = [
        kept(f"worker-{number}", ("-m", "worker"), log=folder / f"worker-{number}.log")
        for number in range(1, shape.workers + 1)
    ]
    return webs, workers
