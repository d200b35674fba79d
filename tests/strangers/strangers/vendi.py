"""Vendi Score (Friedman and Dieng 2023): the effective number of different images, by entropy."""

import math

import numpy as np

from ganpress.metrics.metric import Metric
from ganpress.metrics.samples.sample import Sample


def vendi_score(sample: Sample) -> float:
    """Return exp of the entropy of the eigenvalues of the likeness of all pairs of images, over their number."""
    features = np.asarray(sample.features, np.float64)
    features = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    shares = np.clip(np.linalg.eigvalsh(features.T @ features / len(features)), 1e-12, None)
    return float(np.exp(-(shares * np.log(shares)).sum()))


VENDI = Metric(
    "vendi",
    "Vendi",
    "number of images that differ, by the entropy of their likeness",
    "higher",
    (1.0, math.inf),
    needs=("judge",),
    measure=vendi_score,
)
