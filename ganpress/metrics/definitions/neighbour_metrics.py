"""Quality and diversity apart: which images of one set lie among those of the other."""

import math
from functools import partial

from ganpress.metrics.metric import Metric

_higher = partial(Metric, direction="higher", needs=("judge", "real"))
_share = partial(_higher, range=(0.0, 1.0))

PRECISION = _share(
    "precision",
    "Precision",
    "share of generated images inside the real manifold",
    read=lambda own, _: None if own.neighbours is None else own.neighbours.precision,
)
RECALL = _share(
    "recall",
    "Recall",
    "share of real images inside the generated manifold",
    read=lambda own, _: None if own.neighbours is None else own.neighbours.recall,
)
DENSITY = _higher(
    "density",
    "Density",
    "how many real neighbourhoods hold a generated image, 1 for real data",
    range=(0.0, math.inf),
    read=lambda own, _: None if own.neighbours is None else own.neighbours.density,
)
COVERAGE = _share(
    "coverage",
    "Coverage",
    "share of real neighbourhoods that hold a generated image",
    read=lambda own, _: None if own.neighbours is None else own.neighbours.coverage,
)
PRECISION_LSH = _share(
    "precision_lsh",
    "Precision LSH",
    "share of hash tables in which a generated image shares its bucket with real ones",
    read=lambda own, _: own.lsh.precision,
    aspects={"ceiling": lambda own: own.lsh.precision_ceiling},
    interval=lambda own: own.lsh_intervals and own.lsh_intervals.precision,
    difference=lambda pair: pair.lsh and pair.lsh.precision,
)
RECALL_LSH = _share(
    "recall_lsh",
    "Recall LSH",
    "share of hash tables in which a real image shares its bucket with generated",
    read=lambda own, _: own.lsh.recall,
    aspects={"ceiling": lambda own: own.lsh.recall_ceiling},
    interval=lambda own: own.lsh_intervals and own.lsh_intervals.recall,
    difference=lambda pair: pair.lsh and pair.lsh.recall,
)
PRECISION_LSHKNN = _share(
    "precision_lshknn",
    "Precision LSH+KNN",
    "share of generated images in the ball of a real one of the same bucket",
    read=lambda own, _: own.lsh_neighbours.precision,
    interval=lambda own: own.lsh_neighbour_intervals and own.lsh_neighbour_intervals.precision,
    difference=lambda pair: pair.lsh_neighbours and pair.lsh_neighbours.precision,
)
RECALL_LSHKNN = _share(
    "recall_lshknn",
    "Recall LSH+KNN",
    "share of real images in the ball of a generated one of the same bucket",
    read=lambda own, _: own.lsh_neighbours.recall,
    interval=lambda own: own.lsh_neighbour_intervals and own.lsh_neighbour_intervals.recall,
    difference=lambda pair: pair.lsh_neighbours and pair.lsh_neighbours.recall,
)
