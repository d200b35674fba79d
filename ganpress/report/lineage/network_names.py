"""Names the network of each reference as `family:spec`."""

from collections.abc import Mapping

from ganpress.config.params import Params

EXTRACTED = "subnet/extracted"
"""Reference of the sub-generator before fine-tuning, as extracted from the supernet."""


def network_names(params: Params, teacher: str | None, best_spec: str | None) -> dict[str, str]:
    """Name the network of every generator that params.yaml makes.

    Args:
        params: parameters of the run.
        teacher: the selected candidate's network; None if it is not known.
        best_spec: the spec that the search chose; None if it is not known.
    """
    names = {f"student/{item}": one.generator_name for item, one in params.student.items.items()}
    names |= {f"control/{item}": one.generator_name for item, one in params.control.items.items()}
    if teacher is not None:
        names["teacher"] = teacher
    if best_spec is not None:
        names["subnet"] = names[EXTRACTED] = subnet_name(params.supernet.family, best_spec)
    made = base_references(params)
    return names | {reference: names[base] for reference, base in made.items() if base in names}


def subnet_name(family: str, spec: str) -> str:
    """Name a sub-generator; options of the family follow its widths: `mobile_spade:1_2_1 upsampling=normal`."""
    head, _, options = family.partition(":")
    return f"{head}:{spec} {options}".rstrip()


def base_references(params: Params) -> Mapping[str, str]:
    """Map each compressed generator and edge file to the plain generator behind it."""
    sources = {f"compress/{item}": one.generator for item, one in params.compress.items.items()}
    sources |= {f"export/{item}": one.generator for item, one in params.export.items.items()}
    return {reference: _plain(reference, sources) for reference in sources}


def _plain(reference: str, sources: Mapping[str, str]) -> str:
    while reference in sources:
        reference = sources[reference]
    return reference
