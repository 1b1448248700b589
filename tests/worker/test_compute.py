"""Children at work: pictures in, findings out, with the real recognisers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from io import BytesIO

import pytest
from PIL import Image

from core.catalogue import ModelSpec
from core.domain.recognition import AreaCount, Polygon
from core.errors import AreaOutsidePicture, DecodeFailed, NotAnImage, SettingsError, TooManyPixels
from tests.support.models import model
from tests.support.pictures import COWS, SHEEP, encoded, one_colour_png, photo, stored_turned
from worker.compute import Compute, ComputeSettings, PictureJob

TIMEOUT_SECONDS = 30.0
LEFT_HALF: Polygon = ((0, 0), (512, 0), (512, 768), (0, 768))
RIGHT_HALF: Polygon = ((512, 0), (1024, 0), (1024, 768), (512, 768))


@pytest.fixture(scope="module")
def ssdlite() -> ModelSpec:
    return model("ssdlite")


@pytest.fixture
async def compute(ssdlite: ModelSpec) -> AsyncIterator[Compute]:
    async with Compute(ComputeSettings(children=1), [ssdlite]) as running:
        await running.ready()
        yield running


async def test_the_demo_photos_hold_three_cows_and_one_sheep(compute: Compute, ssdlite: ModelSpec) -> None:
    cows = await compute.run(
        PictureJob(content=COWS.read_bytes(), model=ssdlite, prompt="COW"), TIMEOUT_SECONDS
    )
    sheep = await compute.run(
        PictureJob(content=SHEEP.read_bytes(), model=ssdlite, prompt="ALL"), TIMEOUT_SECONDS
    )
    assert (cows.findings.counts, cows.findings.total) == ({"COW": 3}, 3)
    assert (sheep.findings.counts, sheep.findings.total) == ({"SHEEP": 1}, 1)
    assert (cows.findings.width, cows.findings.height, cows.findings.channels) == (1024, 768, 3)
    assert cows.findings.areas == ()
    assert set(cows.findings.timings_ms) == {"decode", "recognise", "annotate"}
    assert cows.annotated is not None
    with Image.open(BytesIO(cows.annotated)) as drawn:
        assert (drawn.format, drawn.size) == ("JPEG", (1024, 768))


async def test_a_picture_without_cows_counts_zero_cows(compute: Compute, ssdlite: ModelSpec) -> None:
    job = PictureJob(
        content=SHEEP.read_bytes(),
        model=ssdlite,
        prompt="COW",
        camera_size=(768, 1024),
        monitor_areas=(LEFT_HALF,),
    )
    findings = (await compute.run(job, TIMEOUT_SECONDS)).findings
    assert findings.counts == {"COW": 0}
    assert findings.areas == (AreaCount(index=0, counts={"COW": 0}),)
    assert findings.objects == ()


@pytest.mark.parametrize("scale", [1, 2, 3])
async def test_cows_are_counted_where_they_stand(compute: Compute, ssdlite: ModelSpec, scale: int) -> None:
    """One small cow stands left; the other small one and the feet of the near one stand right."""
    areas = tuple(
        tuple((x * scale / 2, y * scale / 2) for x, y in half) for half in (LEFT_HALF, RIGHT_HALF, LEFT_HALF)
    )
    job = PictureJob(
        content=COWS.read_bytes(),
        model=ssdlite,
        prompt="COW",
        camera_size=(384 * scale, 512 * scale),
        monitor_areas=areas,
    )
    findings = (await compute.run(job, TIMEOUT_SECONDS)).findings
    assert [found.areas for found in findings.objects] == [(1,), (1,), (0, 2)]
    assert findings.counts == {"COW": 3}
    assert [area.counts["COW"] for area in findings.areas] == [1, 2, 1]
    assert findings.total == 3


async def test_with_an_area_only_cows_in_it_count_but_all_are_listed(
    compute: Compute, ssdlite: ModelSpec
) -> None:
    job = PictureJob(content=COWS.read_bytes(), model=ssdlite, prompt="ALL", monitor_areas=(LEFT_HALF,))
    findings = (await compute.run(job, TIMEOUT_SECONDS)).findings
    assert (findings.total, findings.counts, len(findings.objects)) == (1, {"COW": 1}, 3)


@pytest.mark.parametrize("orientation", [3, 6, 8])
async def test_boxes_are_those_of_the_upright_picture(
    compute: Compute, ssdlite: ModelSpec, orientation: int
) -> None:
    content = stored_turned(photo(COWS), orientation, quality=95)
    job = PictureJob(content=content, model=ssdlite, prompt="COW", monitor_areas=(RIGHT_HALF,))
    findings = (await compute.run(job, TIMEOUT_SECONDS)).findings
    assert (findings.width, findings.height) == (1024, 768)
    assert findings.total == 2
    assert findings.objects[0].box == pytest.approx((225, 289, 939, 705), abs=12)


async def test_boxes_of_a_drafted_picture_are_in_its_full_pixels(
    compute: Compute, ssdlite: ModelSpec
) -> None:
    content = encoded(photo(COWS).resize((4096, 3072)), "JPEG")
    findings = (
        await compute.run(PictureJob(content=content, model=ssdlite, prompt="COW"), TIMEOUT_SECONDS)
    ).findings
    assert (findings.width, findings.height, findings.total) == (4096, 3072, 3)
    assert findings.objects[0].box == pytest.approx((900, 1156, 3756, 2820), abs=50)


async def test_the_request_sets_the_least_score(compute: Compute, ssdlite: ModelSpec) -> None:
    content = COWS.read_bytes()
    for min_score, expected in ((0.9, 1), (0.4, 3)):
        job = PictureJob(content=content, model=ssdlite, prompt="COW", min_score=min_score, annotate=False)
        outcome = await compute.run(job, TIMEOUT_SECONDS)
        assert outcome.findings.total == expected
        assert outcome.annotated is None
    low = PictureJob(content=content, model=ssdlite, prompt="COW", min_score=0.05)
    found = (await compute.run(low, TIMEOUT_SECONDS)).findings.objects
    assert len(found) > 3
    assert all(one.score >= 0.05 for one in found)


async def test_the_recogniser_picture_tells_size_and_counts_nothing(compute: Compute) -> None:
    job = PictureJob(content=SHEEP.read_bytes(), model=model("picture"), prompt="ALL")
    findings = (await compute.run(job, TIMEOUT_SECONDS)).findings
    assert (findings.width, findings.height, findings.channels) == (1024, 742, 3)
    assert (findings.counts, findings.total, findings.objects) == ({}, 0, ())


async def test_a_bad_picture_has_its_own_error_and_the_child_goes_on(
    compute: Compute, ssdlite: ModelSpec
) -> None:
    cows = encoded(photo(COWS), "JPEG")
    outside = ((0, 0), (2000, 0), (2000, 10))
    bad: list[tuple[bytes, tuple[Polygon, ...], type[Exception]]] = [
        (one_colour_png(30_000, 30_000), (), TooManyPixels),
        (b"<html>nothing to see</html>", (), NotAnImage),
        (b"", (), NotAnImage),
        (cows[: len(cows) // 2], (), DecodeFailed),
        (cows, (outside,), AreaOutsidePicture),
    ]
    for content, areas, error in bad:
        job = PictureJob(content=content, model=ssdlite, prompt="COW", monitor_areas=areas)
        with pytest.raises(error):
            await compute.run(job, TIMEOUT_SECONDS)
    good = PictureJob(content=cows, model=ssdlite, prompt="COW")
    assert (await compute.run(good, TIMEOUT_SECONDS)).findings.total == 3


async def test_what_a_recogniser_finds_is_filtered_clipped_and_ordered(compute: Compute) -> None:
    found = [
        ["COW", 0.5, [-20, -5, 50.04, 60]],
        ["COW", 0.7, [900, 700, 5000, 5000]],
        ["SHEEP", 0.9, [1, 1, 2, 2]],
        ["COW", 0.399, [1, 1, 2, 2]],
    ]
    rectangle = model("Rectangle", found=json.dumps(found))
    job = PictureJob(content=COWS.read_bytes(), model=rectangle, prompt="COW")
    findings = (await compute.run(job, TIMEOUT_SECONDS)).findings
    assert [(one.score, one.box) for one in findings.objects] == [
        (0.7, (900, 700, 1024, 768)),
        (0.5, (0, 0, 50, 60)),
    ]
    everything = PictureJob(content=COWS.read_bytes(), model=rectangle, prompt="ALL", min_score=0.05)
    counts = (await compute.run(everything, TIMEOUT_SECONDS)).findings.counts
    assert counts == {"COW": 3, "SHEEP": 1}


async def test_a_child_sees_no_secrets_and_may_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_SECRET_KEY", "hidden")
    job = PictureJob(content=COWS.read_bytes(), model=model("Witness"), prompt="ALL")
    async with Compute(ComputeSettings(children=1)) as compute:
        findings = (await compute.run(job, TIMEOUT_SECONDS)).findings
    facts = {one.label: one.score for one in findings.objects}
    assert facts["SECRETS"] == 1
    assert facts["NOISE"] == 1


async def test_a_model_that_cannot_be_loaded_is_named_at_the_start() -> None:
    async with Compute(ComputeSettings(children=1), [model("FailsToLoad"), model("picture")]) as compute:
        with pytest.raises(SettingsError, match=r"fails-to-load.*no weights here"):
            await compute.ready()
        job = PictureJob(content=COWS.read_bytes(), model=model("picture"), prompt="ALL")
        assert (await compute.run(job, TIMEOUT_SECONDS)).findings.width == 1024
