"""Quality and diversity apart: which images of one set lie among those of the other."""

import math

from ganpress.metrics.metric import Metric

PRECISION = Metric(
    "precision",
    "Precision",
    "share of generated images inside the real manifold",
    "higher",
    (0.0, 1.0),
    needs=("judge", "real"),
    read=lambda own, _: own.neighbours.precision,
)
RECALL = Metric(
    "recall",
    "Recall",
    "share of real images inside the generated manifold",
    "higher",
    (0.0, 1.0),
    needs=("judge", "real"),
    read=lambda own, _: own.neighbours.recall,
)
DENSITY = Metric(
    "density",
    "Density",
    "how many real neighbourhoods hold a generated image, 1 for real data",
    "higher",
    (0.0, math.inf),
    needs=("judge", "real"),
    read=lambda own, _: own.neighbours.density,
)
COVERAGE = Metric(
    "coverage",
    "Coverage",
    "share of real neighbourhoods that hold a generated image",
    "higher",
    (0.0, 1.0),
    needs=("judge", "real"),
    read=lambda own, _: own.neighbours.coverage,
)
PRECISION_LSH = Metric(
    "precision_lsh",
    "Precision LSH",
    "share of hash tables in which a generated image shares its bucket with real ones",
    "higher",
    (0.0, 1.0),
    needs=("judge", "real"),
    read=lambda own, _: own.lsh.precision,
    aspects={"ceiling": lambda own: own.lsh.precision_ceiling},
    interval=lambda own: own.lsh_intervals.precision,
    difference=lambda pair: pair.lsh.precision,
)
RECALL_LSH = Metric(
    "recall_lsh",
    "Recall LSH",
    "share of hash tables in which a real image shares its bucket with generated",
    "higher",
    (0.0, 1.0),
    needs=("judge", "real"),
    read=lambda own, _: own.lsh.recall,
    aspects={"ceiling": lambda own: own.lsh.recall_ceiling},
    interval=lambda own: own.lsh_intervals.recall,
    difference=lambda pair: pair.lsh.recall,
)
PRECISION_LSHKNN = Metric(
    "precision_lshknn",
    "Precision LSH+KNN",
    "share of generated images in the ball of a real one of the same bucket",
    "higher",
    (0.0, 1.0),
    needs=("judge", "real"),
    read=lambda own, _: own.lsh_neighbours.precision,
    interval=lambda own: own.lsh_neighbour_intervals.precision,
    difference=lambda pair: pair.lsh_neighbours.precision,
)
RECALL_LSHKNN = Metric(
    "recall_lshknn",
    "Recall LSH+KNN",
    "share of real images in the ball of a generated one of the same bucket",
    "higher",
    (0.0, 1.0),
    needs=("judge", "real"),
    read=lambda own, _: own.lsh_neighbours.recall,
    interval=lambda own: own.lsh_neighbour_intervals.recall,
    difference=lambda pair: pair.lsh_neighbours.recall,
)
