"""What both doors stand on, opened from the settings: database, ids, queues, media, models."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from pydantic import SecretStr

from core import __version__, testpoints
from core.catalogue import Catalogue, ModelSpec, Options, load_catalogue
from core.domain.links import Links
from core.domain.promises import Promises
from core.domain.routing import QueueName
from core.errors import SettingsError
from core.ids import Ids
from core.measures import Measures
from core.media import Media, MediaStoreSettings
from core.net import NetSettings
from core.plan import Plan, Queues
from core.queue.connections import RedisConnections, RedisSettings
from core.queue.events import Events
from core.queue.inspect import QueueInspector
from core.queue.queue import TaskQueue, settings_of
from core.seal import Sealer
from core.settings import Settings
from core.store.engine import Database
from core.store.instances import InstanceLeases
from core.store.systems import Systems


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """The parts that web and worker processes share."""

    settings: Settings
    db: Database
    ids: Ids
    connections: RedisConnections
    plan: Plan
    systems: Systems
    media: Media
    catalogue: Catalogue
    links: Links
    promises: Promises
    events: Events

    @staticmethod
    @asynccontextmanager
    async def open(settings: Settings) -> AsyncIterator[Foundation]:
        """Open all of them and close them again; connects to nothing yet. Raises SettingsError."""
        secret_key = _secret_key(settings.secret_key)
        _arm_test_point(settings)
        async with AsyncExitStack() as stack:
            db = Database(settings.database)
            stack.push_async_callback(db.close)
            connections = RedisConnections(_redis_settings(settings))
            stack.push_async_callback(connections.close)
            systems = Systems(db, Sealer(secret_key), default_secret=_webhook_secret(settings))
            links = Links(
                public_url=settings.public_url.rstrip("/"),
                key=hashlib.sha256(b"muster.links\0" + secret_key.encode()).digest(),
                ttl_seconds=settings.media.link_ttl_seconds,
            )
            events = Events(connections, QueueName.RECOGNITION, namespace=settings.redis.namespace)
            plan = Plan(
                db,
                _queues(settings, connections),
                systems,
                events,
                lease_seconds=settings.queue.lease_seconds,
            )
            yield Foundation(
                settings=settings,
                db=db,
                ids=Ids(InstanceLeases(db)),
                connections=connections,
                plan=plan,
                systems=systems,
                media=Media(MediaStoreSettings(folder=settings.media.dir)),
                catalogue=load_catalogue(settings.recognise.recognisers, _model_options(settings)),
                links=links,
                promises=Promises(links=links, zone=settings.zone),
                events=events,
            )

    def inspector(self, queue: QueueName) -> QueueInspector:
        """A reader of one queue."""
        return QueueInspector(self.connections, queue, namespace=self.settings.redis.namespace)

    def measures(self) -> Measures:
        """What brings the gauges of Prometheus up to date."""
        return Measures(self.db, self.plan, {name: self.inspector(name) for name in QueueName})

    def default_models(self) -> list[ModelSpec]:
        """The models that the timetable names; children load them before their first picture.

        Raises:
            SettingsError: the timetable names a model that is not installed.
        """
        models = []
        for name in dict.fromkeys(shift.model for shift in self.settings.routing):
            spec = self.catalogue.find(name)
            if spec is None:
                known = ", ".join(self.catalogue.names)
                raise SettingsError(f"MUSTER_ROUTING names the model {name!r}; installed are: {known}.")
            models.append(spec)
        return models


def net_settings(settings: Settings) -> NetSettings:
    """What may be fetched and called."""
    fetch, delivery = settings.fetch, settings.delivery
    try:
        ports = frozenset(int(port) for port in fetch.ports)
    except ValueError as error:
        raise SettingsError("MUSTER_FETCH_PORTS must be numbers separated by commas.") from error
    return NetSettings(
        allow_networks=fetch.allow,
        allow_loopback=settings.embedded,
        allowed_ports=ports,
        fetch_timeout_seconds=fetch.timeout_seconds,
        post_timeout_seconds=delivery.timeout_seconds,
        connect_timeout_seconds=min(fetch.connect_timeout_seconds, delivery.connect_timeout_seconds),
        max_bytes=fetch.max_bytes,
        per_host_limit=fetch.per_host,
        user_agent=f"Muster/{__version__}",
    )


def _arm_test_point(settings: Settings) -> None:
    """Have this process stop where a test wishes; never where authentication is on, as in production."""
    if not settings.test_point:
        return
    if settings.auth == "on":
        raise SettingsError("MUSTER_TEST_POINT kills this process; it is refused unless MUSTER_AUTH=off.")
    try:
        testpoints.arm(settings.test_point)
    except ValueError as error:
        raise SettingsError(f"MUSTER_TEST_POINT {error}.") from error


def _secret_key(key: SecretStr | None) -> str:
    if key is None:
        raise SettingsError("MUSTER_SECRET_KEY is not set; make one with: openssl rand -hex 32")
    return key.get_secret_value()


def _webhook_secret(settings: Settings) -> bytes | None:
    """The callback secret of systems that are added on first use, without its `whsec_`."""
    given = settings.embedded_webhook_secret
    if given is None:
        return None
    try:
        return base64.b64decode(given.get_secret_value().removeprefix("whsec_"), validate=True)
    except ValueError as error:
        raise SettingsError("MUSTER_EMBEDDED_WEBHOOK_SECRET must be whsec_ and base64.") from error


def _redis_settings(settings: Settings) -> RedisSettings:
    redis = settings.redis
    return RedisSettings(
        url=redis.url, pool_size=redis.pool_size, timeout_seconds=redis.timeout_seconds, client_name="muster"
    )


def _queues(settings: Settings, connections: RedisConnections) -> Queues:
    def queue(name: QueueName) -> TaskQueue:
        own = settings_of(
            name, aging_seconds=settings.queue.aging_seconds, per_host=settings.delivery.per_host
        )
        return TaskQueue(connections, name, namespace=settings.redis.namespace, settings=own)

    return Queues(
        recognition=queue(QueueName.RECOGNITION),
        solo=queue(QueueName.SOLO),
        delivery=queue(QueueName.DELIVERY),
    )


def _model_options(settings: Settings) -> dict[str, Options]:
    ssdlite: dict[str, str | int] = {"threads": settings.recognise.threads}
    if settings.recognise.model_path is not None:
        ssdlite["model_path"] = str(settings.recognise.model_path)
    return {"ssdlite": ssdlite}
