"""Rewrites a float network as a target would export it, without exporting it."""

from torch import Tensor, nn

from ganpress.compression.preparation.sites import Site, find_sites
from ganpress.edge.forms.float_forms import in_form
from ganpress.edge.targets.target import Target
from ganpress.errors import ConfigError


class WrittenForm:
    """Rewrites generators of one architecture as a target would; works on the meta device, too.

    Batch normalisations are folded, transposed convolutions take the target's form for the number type, and layers of
    few output channels compute blocks of pixels if the target uses them. int8 rounds this network and changes none of
    its layers.

    Args:
        target: the runtime.
        number_type: one of its number types.
    """

    def __init__(self, target: Target, number_type: str) -> None:
        self._target, self._form = target, target.default_form(number_type)
        self._sites: tuple[Site, ...] | None = None

    def __call__(self, model: nn.Module, example: Tensor) -> nn.Module:
        """Rewrite a generator, in eval mode; the given one is not changed.

        Args:
            model: a generator of the first call's architecture, at any width.
            example: inputs (1, …).
        """
        if self._sites is None:  # layers have the same names at every width
            self._sites = _sites(model, example)
        return self._target.as_written(in_form(model, self._form, example, self._sites), example)


def _sites(model: nn.Module, example: Tensor) -> tuple[Site, ...]:
    try:
        return find_sites(model, example)
    except ConfigError:
        return ()
