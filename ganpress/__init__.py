"""Distils, searches, quantizes and proves generators for the edge.

The library's surface, each with an example (docs/library.md): `Generator`, `distil`, `quantize`, `export`, `evaluate`,
and `compress`, which does all of it in one call. They are imported when they are first asked for: `import ganpress`
alone loads nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganpress.direct.compressing import Compressed as Compressed
    from ganpress.direct.compressing import compress as compress
    from ganpress.direct.generator import Generator as Generator
    from ganpress.direct.generator import Pairs as Pairs
    from ganpress.direct.generator import distil as distil
    from ganpress.direct.generator import evaluate as evaluate
    from ganpress.direct.generator import export as export
    from ganpress.direct.generator import quantize as quantize

__all__ = ["Compressed", "Generator", "Pairs", "compress", "distil", "evaluate", "export", "quantize"]
_OF_COMPRESSING = ("Compressed", "compress")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'ganpress' has no attribute '{name}'")
    home = "compressing" if name in _OF_COMPRESSING else "generator"
    return getattr(import_module(f"ganpress.direct.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
