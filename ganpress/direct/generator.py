"""The generator object of the library: a network, the description from which it is rebuilt, and its input."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ganpress.basics.seeding import seeded_initialisation
from ganpress.compression.record import CompressionRecord
from ganpress.data.prepared.generator_inputs import LatentInputs
from ganpress.direct.given_inputs import given_inputs
from ganpress.errors import ConfigError
from ganpress.files.checkpoint import save_model
from ganpress.imported.importing import ImportRequest, bring_in, in_order
from models.builders import Blueprint, generator_blueprint
from models.family import Canvas, latent_of

logger = logging.getLogger("ganpress")


@dataclass(frozen=True)
class Generator:
    """A generator in eval mode on the CPU: inputs (N, …) -> images (N, C, H, W) in [-1, 1]."""

    network: nn.Module
    blueprint: Blueprint
    example: Tensor
    """Zeros in the shape of one input (1, …)."""
    name: str
    original: nn.Module | None = None
    """The network in floats, if this one is quantized."""
    record: CompressionRecord | None = None
    """Record of the quantization."""

    @classmethod
    def of(
        cls,
        source: str | nn.Module,
        example: tuple[int, ...] | None = None,
        weights: Path | str | None = None,
        request: ImportRequest | None = None,
    ) -> "Generator":
        """Wrap your generator; its code is run, so pass only code that you trust.

        >>> from torch import nn
        >>> from ganpress import Generator
        >>> layers = nn.ConvTranspose2d(8, 4, 4), nn.ReLU(), nn.ConvTranspose2d(4, 1, 4, 2, 1), nn.Tanh()
        >>> generator = Generator.of(nn.Sequential(*layers), example=(1, 8, 1, 1))
        >>> generator.parameters
        581
        >>> tuple(generator(generator.inputs(3)).shape)
        (3, 1, 8, 8)

        Args:
            source: `FILE.py:function` or `module:function` that builds it, `FILE.onnx`, `FILE.pt2`, or the module.
            example: shape of one input: (1, C, H, W) pictures, (1, Z) latents, (1, C, L) signals.
            weights: see docs/your_generator.md; None uses those of the module.
            request: further options of `ganpress import`; the arguments above override it.

        Raises:
            ganpress.errors.GanpressError: saying in one line what is wrong and what to do.
        """
        given = source if isinstance(source, nn.Module) else None
        name = source if isinstance(source, str) else f"{type(source).__module__}:{type(source).__name__}"
        asked = replace(request or ImportRequest("", None), source=name)
        asked = replace(
            asked, weights=asked.weights if weights is None else Path(weights), example=example or asked.example
        )
        brought = in_order(bring_in(asked, given))
        for note in brought.notes:
            logger.info("%s: %s", name, note)
        return cls(brought.generator, brought.blueprint, brought.example, name)

    @classmethod
    def fresh(cls, name: str, canvas: Canvas, seed: int = 0) -> "Generator":
        """Build an untrained generator of one of ganpress's families.

        >>> from ganpress import Generator
        >>> from models.family import Canvas
        >>> Generator.fresh("wdcgan:2", Canvas(channels=1, height=32, width=32)).parameters
        13487

        Args:
            name: `family:spec`, e.g. `wdcgan:16`.
            canvas: input and output shapes.
            seed: seed of its weights.

        Raises:
            ConfigError: if the family is unknown, or the spec or the canvas does not fit it.
        """
        try:
            blueprint = generator_blueprint(name, canvas)
            with seeded_initialisation(seed, name):
                network = blueprint.build().eval()
        except ValueError as error:
            raise ConfigError(f"generator '{name}': {error}") from None
        example = torch.zeros(1, *canvas.source_shape) if canvas.reads else torch.zeros(1, latent_of(network))
        return cls(network, blueprint, example, name)

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> Tensor:
        """Draw the images (N, C, H, W) of inputs (N, …)."""
        images: Tensor = self.network(inputs)
        return images

    def inputs(self, count: int, data: Path | str | None = None, seed: int = 0) -> Tensor:
        """Return inputs (N, …): `count` latents, or at most as many pictures from a folder, resized to the input size.

        Raises:
            ConfigError: if it reads pictures, and no folder is given.
            DataError: if the folder has no suitable pictures.
        """
        if data is None and self.example.dim() == 2:
            return LatentInputs(self.example.shape[1]).draw(seed, "library", count)
        return given_inputs(self.example, None if data is None else Path(data), seed)[1][:count]

    @property
    def parameters(self) -> int:
        """Number of weights of the network."""
        return sum(one.numel() for one in self.network.parameters())

    @property
    def floats(self) -> nn.Module:
        """The network in floats."""
        return self.network if self.original is None else self.original

    def save(self, path: Path | str) -> None:
        """Write a model file (safetensors) that a project, or `ganpress.files.checkpoint.load_model`, reads."""
        save_model(Path(path), self.network, self.blueprint)
