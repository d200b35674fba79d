"""A weighted sum of distances between images."""

from collections.abc import Iterable, Mapping

from jaxtyping import Float
from torch import Tensor, nn

from ganpress.errors import ConfigError
from ganpress.registries import DISTANCES
from ganpress.training.losses import distillation_loss


def features_needed(distances: Iterable[str], imported: bool, where: str) -> bool:
    """Return whether distances need the teacher's discriminator.

    Args:
        distances: their names.
        imported: whether the teacher may be an imported generator, whose discriminator is untrained.
        where: what to name in the message.

    Raises:
        ConfigError: if they need one, and it may be untrained.
    """
    found = [name for name in distances if DISTANCES[name].needs_features]
    if found and imported:
        raise ConfigError(
            f"{where} has {', '.join(found)}, which need a trained discriminator; an imported teacher has none: use "
            "squared, absolute and wavelet"
        )
    return bool(found)


class MixedDistance:
    """A weighted sum of distances, e.g. `{"squared": 1, "wavelet": 0.5}`.

    Args:
        weights: weight of each distance by its name.
        discriminator: the teacher's, for distances that need its features; it is frozen here.
    """

    def __init__(self, weights: Mapping[str, float], discriminator: nn.Module | None = None) -> None:
        frozen = None if discriminator is None else discriminator.eval().requires_grad_(False)
        self._terms = {name: (weight, DISTANCES[name].build(frozen)) for name, weight in weights.items()}

    def __call__(
        self, made: Float[Tensor, "n c h w"], wanted: Float[Tensor, "n c h w"]
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the sum, and the detached value of each distance and of the MSE, which every curve shows."""
        total, values = made.new_zeros(()), {"mse": distillation_loss(made.detach(), wanted)}
        for name, (weight, measure) in self._terms.items():
            value = measure(made, wanted)
            total, values[DISTANCES[name].shown or name] = total + weight * value, value.detach()
        return total, values
