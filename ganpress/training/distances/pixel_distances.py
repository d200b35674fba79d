"""Distances pixel by pixel."""

from torch.nn import functional

from ganpress.training.distances.distance import Distance
from ganpress.training.losses import distillation_loss

SQUARED = Distance("squared", lambda _: distillation_loss, shown="mse")
ABSOLUTE = Distance("absolute", lambda _: functional.l1_loss)
