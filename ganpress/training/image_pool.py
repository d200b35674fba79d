"""History of generated images that a discriminator is trained on (Shrivastava et al. 2017, section 2.3)."""

from typing import TypedDict

import torch
from jaxtyping import Float
from torch import Tensor


class PoolState(TypedDict):
    """State of a pool in a checkpoint."""

    images: list[Tensor]
    random: Tensor


class ImagePool:
    """Mixes new fakes with earlier ones, so that the discriminator does not forget what the generator no longer makes.

    While the pool fills, it keeps and returns what comes in. Then each image is, with probability 1/2, exchanged for
    one stored at random, else returned and not kept (as in CycleGAN: Zhu et al. 2017, section 4, 50 images).

    Args:
        capacity: images that the pool holds; 0 returns everything as it comes.
        random: the stream that decides; part of the pool's state.
    """

    def __init__(self, capacity: int, random: torch.Generator) -> None:
        if capacity < 0:
            raise ValueError(f"an image pool holds 0 images or more, found {capacity}")
        self._capacity, self._random = capacity, random
        self._images: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._images)

    def exchange(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Return as many images as come in, detached: new ones, or earlier ones in their place."""
        if self._capacity == 0:
            return images.detach()
        return torch.stack([self._exchange_one(image) for image in images.detach()])

    def _exchange_one(self, image: Float[Tensor, "c h w"]) -> Float[Tensor, "c h w"]:
        if len(self._images) < self._capacity:
            self._images.append(image.clone())
            return image
        if torch.rand((), generator=self._random) >= 0.5:
            return image
        place = int(torch.randint(self._capacity, (), generator=self._random))
        earlier, self._images[place] = self._images[place], image.clone()
        return earlier.to(image.device)  # a resumed pool's images come from the CPU

    def state_dict(self) -> PoolState:
        return {"images": [image.cpu() for image in self._images], "random": self._random.get_state()}

    def load_state_dict(self, state: PoolState) -> None:
        self._images = list(state["images"])
        self._random.set_state(state["random"])
