"""Deliveries for a caller: list, read, send again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.auth import Principal
from core.domain.delivery import Delivery
from core.foundation import Foundation
from core.store.delivery_log import (
    DeliveryFilter,
    LoggedTry,
    get_delivery,
    list_deliveries,
    replay_delivery,
)


class DeliveryService:
    """Use cases around callbacks that were promised."""

    def __init__(self, base: Foundation) -> None:
        self._base = base

    async def page(
        self, wanted: DeliveryFilter, *, page_size: int, before_id: int | None, principal: Principal
    ) -> Sequence[Delivery]:
        """One page of the principal's deliveries, newest first."""
        own = replace(wanted, system_code=principal.system_code)
        return await list_deliveries(self._base.db, own, page_size=page_size, before_id=before_id)

    async def get(self, delivery_id: int, principal: Principal) -> tuple[Delivery, list[LoggedTry]]:
        """One delivery and its tries; raises NotFound."""
        return await get_delivery(self._base.db, delivery_id, system_code=principal.system_code)

    async def replay(self, delivery_id: int, principal: Principal) -> Delivery:
        """Send an ended delivery again; raises NotFound, TaskNotFinal."""
        after = await replay_delivery(self._base.db, delivery_id, system_code=principal.system_code)
        await self._base.plan.enqueue_deliveries([after])
        return after
