"""Distance between images by the differences of neighbouring pixels."""

from torch import Tensor
from torch.nn import functional

from ganpress.training.distances.distance import Distance


def slope_distance(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute difference of the images' slopes in both directions."""
    return functional.l1_loss(made.diff(dim=-1), wanted.diff(dim=-1)) + functional.l1_loss(
        made.diff(dim=-2), wanted.diff(dim=-2)
    )


SLOPES = Distance("slopes", lambda _: slope_distance)
