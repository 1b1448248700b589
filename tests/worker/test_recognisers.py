"""The built-in recognisers and the catalogue of all that are installed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageOps

from core.catalogue import load_catalogue
from core.errors import SettingsError
from tests.support.pictures import COWS, SHEEP, photo
from tests.support.recognisers import HERE
from worker.recognisers.base import Found, Recogniser
from worker.recognisers.boxes import best_of_each, cut_by_inner_edge, tile_grid
from worker.recognisers.picture import PictureRecogniser
from worker.recognisers.ssd import SsdRecogniser


@pytest.fixture(scope="module")
def ssd() -> SsdRecogniser:
    recogniser = SsdRecogniser({"threads": 1})
    recogniser.load()
    return recogniser


def look(ssd: Recogniser, image: Image.Image, prompt: str = "ALL", min_score: float = 0.4) -> list[Found]:
    return ssd.recognise(np.asarray(image), prompt, min_score)


def test_there_are_three_cows(ssd: SsdRecogniser) -> None:
    found = look(ssd, photo(COWS), "COW")
    assert [one.label for one in found] == ["COW"] * 3
    assert all(one.score >= 0.4 for one in found)
    nearest = found[0].box
    assert np.allclose(nearest, (233, 287, 939, 704), atol=12)


def test_there_is_one_sheep(ssd: SsdRecogniser) -> None:
    found = look(ssd, photo(SHEEP), "SHEEP")
    assert [one.label for one in found] == ["SHEEP"]


@pytest.mark.parametrize("prompt", ["SHEEP", "HORSE", "DOG", "PERSON"])
def test_a_cow_is_not_counted_as_something_else(ssd: SsdRecogniser, prompt: str) -> None:
    assert all(one.score < 0.4 for one in look(ssd, photo(COWS), prompt, 0.05))


@pytest.mark.parametrize("variant", ["mirrored", "half", "double", "grey", "dim"])
def test_the_cows_stay_three_however_the_photo_is_shown(ssd: SsdRecogniser, variant: str) -> None:
    cows = photo(COWS)
    shown = {
        "mirrored": ImageOps.mirror(cows),
        "half": cows.resize((512, 384)),
        "double": cows.resize((2048, 1536)),
        "grey": cows.convert("L").convert("RGB"),
        "dim": cows.point(lambda level: int(level * 0.6)),
    }[variant]
    assert [one.label for one in look(ssd, shown)] == ["COW"] * 3


def test_a_lower_score_finds_more_and_keeps_what_a_higher_one_found(ssd: SsdRecogniser) -> None:
    few, many = look(ssd, photo(COWS)), look(ssd, photo(COWS), min_score=0.05)
    assert many[: len(few)] == few
    assert len(many) > len(few)
    assert look(ssd, photo(COWS), min_score=0.9) == few[:1]


def test_the_same_picture_gives_the_same_answer(ssd: SsdRecogniser) -> None:
    again = SsdRecogniser({"threads": 1})
    again.load()
    assert look(again, photo(COWS)) == look(ssd, photo(COWS))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 500), (700, 1), (299, 301), (5, 1000)])
def test_odd_sizes_are_no_trouble(ssd: SsdRecogniser, size: tuple[int, int]) -> None:
    assert isinstance(look(ssd, photo(COWS).resize(size)), list)


def test_a_missing_model_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        SsdRecogniser({"model_path": "/nowhere.onnx"}).load()


def test_picture_finds_nothing_and_needs_no_weights() -> None:
    recogniser: Recogniser = PictureRecogniser({})
    recogniser.load()
    assert look(recogniser, photo(COWS)) == []
    assert recogniser.prompts == ("ALL",)


def test_tiles_share_a_quarter_of_their_side_and_reach_every_edge() -> None:
    whole, *tiles = tile_grid(700, 350)
    assert whole == (0, 0, 700, 350)
    assert tiles == [(0, 0, 400, 200), (300, 0, 700, 200), (0, 150, 400, 350), (300, 150, 700, 350)]


def test_only_boxes_at_an_inner_edge_are_cut() -> None:
    boxes = np.array([[0, 0, 50, 50], [350, 20, 400, 60], [10, 150, 30, 200], [390, 190, 398.5, 195]], float)
    assert cut_by_inner_edge(boxes, (0, 0, 400, 200), 700, 350).tolist() == [False, True, True, True]
    assert cut_by_inner_edge(boxes, (0, 0, 400, 200), 400, 200).tolist() == [False] * 4
    right = np.array([[300, 160, 500, 300], [310, 160, 700, 350], [310, 150, 500, 300]], float)
    assert cut_by_inner_edge(right, (300, 150, 700, 350), 700, 350).tolist() == [True, False, True]


def test_one_animal_is_one_box() -> None:
    boxes = np.array(
        [[0, 0, 100, 100], [5, 0, 105, 100], [10, 10, 40, 40], [90, 0, 190, 100], [0, 0, 300, 300]], float
    )
    assert best_of_each(boxes, np.array([0.9, 0.8, 0.95, 0.5, 0.3])) == [2, 0, 3, 4]
    assert best_of_each(boxes, np.array([0.9, 0.8, 0.6, 0.5, 0.3])) == [0, 3, 4]
    assert best_of_each(np.zeros((0, 4)), np.zeros(0)) == []


def test_the_catalogue_describes_what_is_built_in() -> None:
    catalogue = load_catalogue()
    assert {"picture", "ssdlite"} <= set(catalogue.names)
    ssdlite, picture = catalogue.find("ssdlite"), catalogue.find("picture")
    assert ssdlite is not None
    assert picture is not None
    assert picture.prompts == ("ALL",)
    assert picture.labels == ()
    assert {"ALL", "COW", "SHEEP", "HORSE", "DOG", "BIRD", "PERSON"} <= set(ssdlite.prompts)
    assert ssdlite.knows("COW")
    assert not ssdlite.knows("DRAGON")
    assert catalogue.find("yolo9000") is None


def test_describing_the_models_loads_no_inference_engine() -> None:
    program = (
        "import core.catalogue, sys; core.catalogue.load_catalogue(); print('onnxruntime' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert answer.stdout.strip() == "False"


def test_more_recognisers_come_by_path_with_their_options() -> None:
    catalogue = load_catalogue([f"{HERE}:Slow"], {"slow": {"seconds": 2}})
    slow = catalogue.find("slow")
    assert slow is not None
    assert slow.path == f"{HERE}:Slow"
    assert slow.options == {"seconds": 2}


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("no_such_module:Thing", "cannot be imported"),
        (f"{HERE}:NoSuchClass", "has no NoSuchClass"),
        ("just.a.module", "module:Class"),
        (f"{HERE}:NoPrompts", "has no prompts"),
        (f"{HERE}:LowerCase", "upper-case"),
        (f"{HERE}:Nameless", "name must match"),
        (f"{HERE}:NoRecognise", "no method recognise"),
        (f"{HERE}:Refuses", "option `weights` is missing"),
        (f"{HERE}:Impostor", "both named 'picture'"),
    ],
)
def test_a_recogniser_that_breaks_the_protocol_is_refused_and_named(path: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint) as refusal:
        load_catalogue([path])
    assert path in refusal.value.message


def test_options_for_a_model_that_is_not_there_are_refused() -> None:
    with pytest.raises(SettingsError, match="yolo"):
        load_catalogue(options={"yolo": {"model_path": "x"}})
