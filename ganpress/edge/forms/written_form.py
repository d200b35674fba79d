"""The float network that a target's graph is made of, without writing it: its layers are what the runtime runs."""

from torch import Tensor, nn

from ganpress.compression.preparation.sites import Site, find_sites
from ganpress.edge.forms.float_forms import in_form
from ganpress.edge.targets.target import Target
from ganpress.errors import ConfigError


class WrittenForm:
    """Generators of one architecture as a target writes them; works on the meta device, too.

    Batch normalisations are folded, transposed convolutions in the target's form for the number type, narrow outputs
    drawn in blocks where the target does so. int8 rounds this network and changes none of its layers.

    Args:
        target: the runtime.
        number_type: one of its number types.
    """

    def __init__(self, target: Target, number_type: str) -> None:
        self._target, self._form = target, target.default_form(number_type)
        self._sites: tuple[Site, ...] | None = None

    def __call__(self, model: nn.Module, example: Tensor) -> nn.Module:
        """Rewrite a generator, in eval mode; the given one is left as it is.

        Args:
            model: of the architecture that the first call saw, at any width.
            example: inputs (1, …).
        """
        if self._sites is None:  # of whatever width: the names of layers are the same
            self._sites = _sites(model, example)
        return self._target.as_written(in_form(model, self._form, example, self._sites), example)


def _sites(model: nn.Module, example: Tensor) -> tuple[Site, ...]:
    try:
        return find_sites(model, example)
    except ConfigError:
        return ()
