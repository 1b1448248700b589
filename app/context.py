"""What handlers need, opened with the application and closed with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import cast

from quart import current_app

from app.auth import Doorkeeper
from app.schemas.faults import Meaning
from app.services.administration import AdministrationService
from app.services.bulk import BulkService
from app.services.deliveries import DeliveryService
from app.services.envelopes import EnvelopeService
from app.services.overview import OverviewService
from app.services.pictures import PictureService
from app.services.tasks import TaskService
from app.services.waiting import Waiting
from core.foundation import Foundation, net_settings
from core.net import GuardedClient
from core.settings import Settings
from core.store.submissions import Submissions


@dataclass(frozen=True, slots=True, kw_only=True)
class AppContext:
    """The services of one web process."""

    settings: Settings
    base: Foundation
    doorkeeper: Doorkeeper
    meaning: Meaning
    waiting: Waiting
    tasks: TaskService
    envelopes: EnvelopeService
    pictures: PictureService
    overview: OverviewService
    deliveries: DeliveryService
    bulk: BulkService
    administration: AdministrationService


@asynccontextmanager
async def open_context(settings: Settings) -> AsyncIterator[AppContext]:
    """Open everything a web process needs; raises SettingsError."""
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(Foundation.open(settings))
        base.default_models()
        submissions = await stack.enter_async_context(
            Submissions(base.db, base.ids, base.promises, settings.intake)
        )
        waiting = await stack.enter_async_context(Waiting(base.events))
        client = await stack.enter_async_context(GuardedClient(net_settings(settings)))
        meaning = Meaning(
            catalogue=base.catalogue,
            shifts=settings.routing,
            zone=settings.zone,
            urls=client.rules,
        )
        tasks = TaskService(base, submissions, waiting)
        yield AppContext(
            settings=settings,
            base=base,
            doorkeeper=Doorkeeper(base.db, is_on=settings.auth == "on"),
            meaning=meaning,
            waiting=waiting,
            tasks=tasks,
            envelopes=EnvelopeService(base, tasks),
            pictures=PictureService(base),
            overview=OverviewService(base, submissions),
            deliveries=DeliveryService(base),
            bulk=BulkService(base, tasks),
            administration=AdministrationService(base, client),
        )


def context() -> AppContext:
    """The context of the running application."""
    return cast(AppContext, current_app.extensions["muster"])
