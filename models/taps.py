"""Named taps: the outputs of chosen submodules during one forward pass (Li et al. 2020, section 3.1, feature maps)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def tapped(module: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of the submodules `names` (dotted) while inside; a later pass overwrites an earlier one.

    Raises:
        ValueError: if `module` has no submodule of one of the names.
    """
    collected: dict[str, Tensor] = {}
    hooks = [_submodule(module, name).register_forward_hook(_collector(collected, name)) for name in names]
    try:
        yield collected
    finally:
        for hook in hooks:
            hook.remove()


def _submodule(module: nn.Module, name: str) -> nn.Module:
    try:
        return module.get_submodule(name)
    except AttributeError:
        known = ", ".join(child for child, _ in module.named_children())
        raise ValueError(f"no layer '{name}' to tap in {type(module).__name__}; its outer layers: {known}") from None


def _collector(collected: dict[str, Tensor], name: str) -> Any:
    def collect(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        collected[name] = output

    return collect
