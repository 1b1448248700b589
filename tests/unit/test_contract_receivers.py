"""Which receivers share a flow, so that one which is dead holds up nobody else."""

from __future__ import annotations

from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from core.domain.delivery import EventType
from core.domain.links import Links
from core.domain.promises import Promises
from tests.support.tasks import MOMENT, some_task

LINKS = Links(public_url="https://muster.example", key=b"k" * 32, ttl_seconds=3600)
PROMISES = Promises(links=LINKS, zone=ZoneInfo("UTC"))


def flow_to(url: str) -> str:
    task = replace(some_task(), callback_url=url, callback_events=(EventType.COMPLETED,))
    sent = PROMISES.of(task, EventType.COMPLETED, 1, MOMENT)
    assert sent is not None
    return sent.flow


@pytest.mark.parametrize(
    "url", ["https://erp.example/b", "http://erp.example:80/", "https://ERP.example:443/a?x=1"]
)
def test_every_address_of_a_host_shares_its_flow(url: str) -> None:
    assert flow_to(url) == flow_to("http://erp.example/a")


def test_another_port_is_another_receiver() -> None:
    flows = {flow_to(f"http://127.0.0.1{port}/") for port in ("", ":8001", ":8002")}

    assert len(flows) == 3
