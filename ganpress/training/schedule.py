"""Learning rate schedules, as functions of images shown."""

import math

from torch import optim


class CosineSchedule:
    """Learning rate from its peak to zero along a cosine of the images shown; has no state of its own."""

    def __init__(self, optimizer: optim.Optimizer, peak: float, total_images: int) -> None:
        self._optimizer, self._peak, self._total = optimizer, peak, total_images

    def set(self, images_shown: int) -> None:
        """Set the rate for the step that starts after `images_shown` images."""
        rate = self._peak * 0.5 * (1 + math.cos(math.pi * min(images_shown / self._total, 1.0)))
        for group in self._optimizer.param_groups:
            group["lr"] = rate
