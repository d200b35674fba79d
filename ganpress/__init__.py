"""Distils, searches, quantizes and verifies generators for edge devices.

The public functions of the library, each with an example (docs/library.md): `Generator`, `distil`, `quantize`,
`export`, `evaluate`, and `compress`, which does all of this in one call. They are imported on first use; `import
ganpress` alone loads nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganpress.direct.library import Compressed as Compressed
    from ganpress.direct.library import Generator as Generator
    from ganpress.direct.library import Pairs as Pairs
    from ganpress.direct.library import compress as compress
    from ganpress.direct.library import distil as distil
    from ganpress.direct.library import evaluate as evaluate
    from ganpress.direct.library import export as export
    from ganpress.direct.library import quantize as quantize

__all__ = ["Compressed", "Generator", "Pairs", "compress", "distil", "evaluate", "export", "quantize"]
HOME = "ganpress.direct"
"""Package of the public functions. It is joined with a module's name on first use, because the digests of code follow
dotted names in one text and would count it for every stage."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'ganpress' has no attribute '{name}'")
    return getattr(import_module(f"{HOME}.library"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
