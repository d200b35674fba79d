"""Derives from params.yaml what each file of the chain is made from, in the granularity of dvc.yaml."""

from ganpress.config.params import Params
from ganpress.config.translation_section import CONDITIONAL, kind_of_training

Edge = tuple[str, str]
"""A pair of references (source, target)."""


def lineage_edges(params: Params) -> list[Edge]:
    """Return which file is made from which, from the data to the edge files."""
    return [
        ("data", "prepare"),
        ("prepare", "judge"),
        *_trained_on_data(params),
        ("judge", "teacher"),
        *_distilled(params),
        ("supernet", "search"),
        ("judge", "search"),
        ("search", "subnet"),
        *((one.generator, f"compress/{item}") for item, one in params.compress.items.items()),
        *((one.generator, f"export/{item}") for item, one in params.export.items.items()),
    ]


def _trained_on_data(params: Params) -> list[Edge]:
    """Return the edges of candidates, of the teacher and of controls; an imported candidate comes from its folder."""
    edges = []
    for item, one in params.candidate.items.items():
        origin = params.candidate.imported if one.imported else "prepare"
        edges += [(origin, f"candidate/{item}"), (f"candidate/{item}", "teacher")]
    return edges + [("prepare", f"control/{item}") for item in params.control.items]


def _distilled(params: Params) -> list[Edge]:
    """Return the edges of students, supernet and fine-tuned sub-generator.

    GAN Compression and the joint loss use real images as well.
    """
    conditional = kind_of_training(params.student.training) == CONDITIONAL
    edges = []
    for item, student in params.student.items.items():
        edges.append(("teacher", f"student/{item}"))
        if conditional or student.loss == "joint":
            edges.append(("prepare", f"student/{item}"))
    edges.append(("teacher", "supernet"))
    if conditional:
        edges.append(("prepare", "supernet"))
    if params.subnet.fine_tuning is not None:
        edges.append(("teacher", "subnet"))
    return edges
