"""Real text for the benchmark of LSH precision and recall: docstrings of scipy, which every installation has."""

import importlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]
TOPICS = ("stats", "signal", "linalg", "optimize", "special", "ndimage", "sparse", "interpolate", "spatial", "fft")
"""Subpackages of scipy."""
DIMENSIONS = 64
SHORTEST = 200
"""Characters below which a docstring says too little of its topic."""


@dataclass(frozen=True)
class Document:
    """One docstring."""

    topic: str
    text: str


def docstrings() -> list[Document]:
    """Docstrings of all public names, in random order; those that several names share, once."""
    found: dict[str, str] = {}
    for topic in TOPICS:
        module = importlib.import_module(f"scipy.{topic}")
        for name in sorted(dir(module)):
            text = inspect.getdoc(getattr(module, name)) if not name.startswith("_") else None
            if text and len(text) >= SHORTEST:
                found.setdefault(text, topic)
            for method, member in inspect.getmembers(getattr(module, name), inspect.isfunction):
                text = inspect.getdoc(member) if not method.startswith("_") else None
                if text and len(text) >= SHORTEST:
                    found.setdefault(text, topic)
    documents = [Document(topic, text) for text, topic in found.items()]
    return [documents[place] for place in np.random.default_rng(0).permutation(len(documents))]


def mixed(documents: Sequence[Document]) -> list[Document]:
    """Documents of which every second word belongs to the document after: every word is right, no text is."""
    pairs = zip(documents, [*documents[1:], documents[0]], strict=True)
    return [Document(one.topic, " ".join([*one.text.split()[::2], *other.text.split()[::2]])) for one, other in pairs]


def embedded(reference: Sequence[Document], *others: Sequence[Document]) -> list[Features]:
    """Features (N, 64) of each set: TF-IDF and singular vectors, both fitted on the reference, as a judge is."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    judge = make_pipeline(
        TfidfVectorizer(min_df=3, sublinear_tf=True, stop_words="english"),
        TruncatedSVD(DIMENSIONS, random_state=0),
    )
    judge.fit([document.text for document in reference])
    return [
        judge.transform([document.text for document in documents]).astype(np.float32)
        for documents in (reference, *others)
    ]
