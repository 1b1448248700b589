"""Boxes of a tiled detector: where the tiles lie, which boxes they cut, which boxes say the same thing.

Boxes are float arrays `(n, 4)` of `x1, y1, x2, y2` in pixels of the whole picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
Box = tuple[float, float, float, float]

TILES_A_SIDE = 2
OVERLAP = 0.25
EDGE_PIXELS = 2.0
"""A box this near to an inner edge of its tile is taken to be cut by it."""
SAME_IOU = 0.5
INSIDE_SHARE = 0.8


def tile_grid(width: int, height: int) -> list[Box]:
    """The whole picture, then 2 x 2 tiles of which neighbours share a quarter of their side."""
    tile_width = width / (TILES_A_SIDE - (TILES_A_SIDE - 1) * OVERLAP)
    tile_height = height / (TILES_A_SIDE - (TILES_A_SIDE - 1) * OVERLAP)
    tiles = [
        (left, top, min(left + tile_width, width), min(top + tile_height, height))
        for top in (0.0, height - tile_height)
        for left in (0.0, width - tile_width)
    ]
    return [(0.0, 0.0, float(width), float(height)), *tiles]


def cut_by_inner_edge(boxes: Boxes, tile: Box, width: int, height: int) -> NDArray[np.bool_]:
    """Which boxes touch an edge of their tile that is not an edge of the picture: parts of an object."""
    left, top, right, bottom = tile
    cut = np.zeros(len(boxes), dtype=bool)
    if left > 0:
        cut |= boxes[:, 0] <= left + EDGE_PIXELS
    if top > 0:
        cut |= boxes[:, 1] <= top + EDGE_PIXELS
    if right < width - EDGE_PIXELS:
        cut |= boxes[:, 2] >= right - EDGE_PIXELS
    if bottom < height - EDGE_PIXELS:
        cut |= boxes[:, 3] >= bottom - EDGE_PIXELS
    return cut


def best_of_each(boxes: Boxes, scores: NDArray[np.float64]) -> list[int]:
    """Indices of the boxes to keep, best first: non-maximum suppression over all labels together.

    A box goes when it overlaps a better one by an IoU above 0.5 (the same object under another
    label or from another tile) or lies with more than 80 % of itself inside one (a part of it).
    """
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while order.size:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        shared = _shared_areas(boxes[best], boxes[order])
        iou = shared / (areas[best] + areas[order] - shared)
        order = order[(iou <= SAME_IOU) & (shared <= INSIDE_SHARE * areas[order])]
    return kept


def _shared_areas(box: NDArray[np.float64], others: Boxes) -> NDArray[np.float64]:
    widths = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    heights = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    return np.asarray(np.clip(widths, 0, None) * np.clip(heights, 0, None), dtype=np.float64)
