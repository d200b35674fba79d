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


class LinearDecay:
    """Learning rate constant at its peak, then linearly to zero over the last share of the images shown.

    The schedule of pix2pix and CycleGAN (Zhu et al. 2017, section 7.1: half of the training each), counted in images
    instead of epochs; has no state of its own.

    Raises:
        ValueError: if `decay_fraction` lies outside [0, 1]; 0 keeps the rate constant.
    """

    def __init__(self, optimizer: optim.Optimizer, peak: float, total_images: int, decay_fraction: float) -> None:
        if not 0 <= decay_fraction <= 1:
            raise ValueError(f"decay_fraction must lie between 0 and 1, found {decay_fraction}")
        self._optimizer, self._peak, self._total = optimizer, peak, total_images
        self._decay_images = decay_fraction * total_images

    def set(self, images_shown: int) -> None:
        """Set the rate for the step that starts after `images_shown` images."""
        left = max(self._total - images_shown, 0)
        share = min(left / self._decay_images, 1.0) if self._decay_images > 0 else 1.0
        for group in self._optimizer.param_groups:
            group["lr"] = self._peak * share
