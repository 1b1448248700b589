"""A signed link that was changed or is over is refused, also where no key is needed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from core.clock import utc_now
from core.domain.links import Links
from tests.support.api import Api

TASK, PICTURE = 7391224518873088, 7391224518873089


@pytest.fixture
def links(api: Api) -> Links:
    found = api.app.extensions["muster"].base.links
    assert isinstance(found, Links)
    return found


def path_of(link: str) -> str:
    """Give the path and query of a link."""
    return "/v1/" + link.partition("/v1/")[2]


async def test_a_good_link_reaches_the_store(api: Api, links: Links) -> None:
    link = path_of(links.image(TASK, PICTURE, now=utc_now()))

    assert (await api.get(link)).status == 404


async def test_a_changed_or_old_link_is_refused_without_authentication(api: Api, links: Links) -> None:
    good = path_of(links.image(TASK, PICTURE, now=utc_now()))
    old = path_of(links.image(TASK, PICTURE, now=utc_now() - timedelta(days=8)))
    last = "0" if good[-1] != "0" else "1"
    changed = [
        good[:-1] + last,
        good.replace("expires=", "expires=9"),
        good.replace(str(PICTURE), str(PICTURE + 1)),
        good.partition("&")[0],
        old,
    ]

    answers = [await api.get(link) for link in changed]

    assert [(answer.status, answer.json["code"]) for answer in answers] == [(401, "unauthenticated")] * 5


async def test_a_plain_path_is_open_without_authentication(api: Api) -> None:
    assert (await api.get(f"/v1/tasks/{TASK}/recognitions/{PICTURE}/image")).status == 404
