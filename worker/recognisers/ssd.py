"""The recogniser `ssdlite`: SSDLite-MobileNetV2 trained on COCO, run by onnxruntime on the CPU.

Its input is 300 x 300, so small animals in a large photo are only seen in tiles. Published COCO
mAP is 22: it knows no pigs and under-counts distant or overlapping animals.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.recognisers.base import ALL, Found, Options
from worker.recognisers.boxes import Box, Boxes, best_of_each, cut_by_inner_edge, tile_grid

if TYPE_CHECKING:
    from worker.recognisers.base import Pixels

BUNDLED_MODEL = Path(__file__).resolve().parents[2] / "models" / "ssdlite_mobilenet_v2_coco.onnx"
INPUT_SIDE = 300

_COCO_IDS = {
    "COW": 21,
    "SHEEP": 20,
    "HORSE": 19,
    "DOG": 18,
    "CAT": 17,
    "BIRD": 16,
    "ELEPHANT": 22,
    "BEAR": 23,
    "ZEBRA": 24,
    "GIRAFFE": 25,
    "PERSON": 1,
}
_LABEL_OF_COLUMN = {coco_id - 1: label for label, coco_id in _COCO_IDS.items()}


class SsdRecogniser:
    """Finds animals and people. Options: `model_path` (another ONNX file of the same shape), `threads`."""

    name: ClassVar[str] = "ssdlite"
    labels: ClassVar[tuple[str, ...]] = tuple(_COCO_IDS)
    prompts: ClassVar[tuple[str, ...]] = (ALL, *_COCO_IDS)
    default_min_score: ClassVar[float] = 0.4
    # No `draft_side_pixels`: a large JPEG decoded at half its size moves scores a little, and one at
    # the threshold would count or not by the format its camera sends.

    def __init__(self, options: Options) -> None:
        self._model_path = Path(str(options.get("model_path") or BUNDLED_MODEL))
        self._threads = int(options.get("threads", 1))
        self._session: Any = None

    def load(self) -> None:
        """Open the model file; raises FileNotFoundError when there is none."""
        if not self._model_path.is_file():
            raise FileNotFoundError(f"model file {self._model_path} is missing")
        runtime = import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
        # Threads that spin between two pictures take the core from the neighbour's picture.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = runtime.InferenceSession(
            str(self._model_path), options, providers=["CPUExecutionProvider"]
        )

    def recognise(self, pixels: Pixels, prompt: str, min_score: float) -> list[Found]:
        """Find objects in the whole frame and in tiles, one box for each.

        Boxes of every COCO class compete before the prompt is looked at, so that what is best
        explained as something else is not counted as what was asked for.
        """
        boxes, scores, columns = self._candidates(pixels, min_score)
        found: list[Found] = []
        for index in best_of_each(boxes, scores):
            label = _LABEL_OF_COLUMN.get(int(columns[index]))
            if label is not None and prompt in (ALL, label):
                x1, y1, x2, y2 = (float(side) for side in boxes[index])
                found.append(Found(label=label, score=float(scores[index]), box=(x1, y1, x2, y2)))
        return found

    def _candidates(
        self, pixels: Pixels, min_score: float
    ) -> tuple[Boxes, NDArray[np.float64], NDArray[np.int64]]:
        height, width = pixels.shape[:2]
        image = Image.fromarray(pixels)
        parts = [self._look_at(image, tile, min_score) for tile in tile_grid(width, height)]
        boxes, scores, columns = (np.concatenate(column) for column in zip(*parts, strict=True))
        return boxes, scores, columns

    def _look_at(
        self, image: Image.Image, tile: Box, min_score: float
    ) -> tuple[Boxes, NDArray[np.float64], NDArray[np.int64]]:
        """Run the model on one part of the picture; keep whole objects of at least `min_score`."""
        small = image.resize((INPUT_SIDE, INPUT_SIDE), Image.Resampling.BILINEAR, box=tile)
        planes = np.asarray(small, dtype=np.float32).transpose(2, 0, 1)[np.newaxis]
        relative, by_class = self._session.run(["boxes", "scores"], {"image": planes})
        columns = by_class[0].argmax(axis=1)
        scores = by_class[0].max(axis=1).astype(np.float64)
        chosen = scores >= min_score
        boxes = _in_picture(relative[0][chosen], tile)
        whole = ~cut_by_inner_edge(boxes, tile, image.width, image.height)
        whole &= (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return boxes[whole], scores[chosen][whole], columns[chosen][whole]


def _in_picture(relative: NDArray[np.float32], tile: Box) -> Boxes:
    """Turn `ymin, xmin, ymax, xmax` in 0..1 of a tile into `x1, y1, x2, y2` pixels of the picture."""
    left, top, right, bottom = tile
    inside = np.clip(relative.astype(np.float64), 0.0, 1.0)
    origin = np.array([left, top, left, top])
    size = np.array([right - left, bottom - top, right - left, bottom - top])
    return np.asarray(inside[:, [1, 0, 3, 2]] * size + origin, dtype=np.float64)
