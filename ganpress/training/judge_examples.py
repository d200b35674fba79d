"""Training data of judges: images with the answers for each kind of judge.

Real classes where there are some; else a pretext whose answers come for free, so that features of the data's own domain
are learnt without a label (domains; rotations, Gidaris et al. 2018); label maps for a segmenter.
"""

from collections.abc import Iterator
from typing import Literal, Protocol

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ganpress.config.judge_section import JudgeConfig
from ganpress.data.prepared.arrays import ImageArray
from ganpress.data.prepared.pairs import PairArray, SourceArray
from ganpress.errors import DataError

Builder = Literal["classifier", "pretext_classifier", "segmenter"]
BATCH = 500
"""Images that are tested at a time."""


class Examples(Protocol):
    """Images of one split with their answers, a class or a label map each."""

    builder: Builder
    """Builder of the network that learns them."""

    @property
    def channels(self) -> int: ...

    @property
    def classes(self) -> int: ...

    def draw(self, batch_size: int, random: torch.Generator) -> tuple[Float[Tensor, "n c h w"], Int64[Tensor, "n ..."]]:
        """Draw a batch of images in [-1, 1] with replacement, and their answers."""

    def once(self) -> Iterator[tuple[Float[Tensor, "n c h w"], Int64[Tensor, "n ..."]]]:
        """Yield every example once, batch by batch."""


class LabelledImages:
    """Images with their own classes."""

    builder: Builder = "classifier"

    def __init__(self, images: ImageArray, classes: int) -> None:
        self.images, self.classes = images, classes
        self._labels = torch.from_numpy(images.labels[:])

    @property
    def channels(self) -> int:
        return self.images.channels

    def draw(self, batch_size: int, random: torch.Generator) -> tuple[Float[Tensor, "n c h w"], Int64[Tensor, " n"]]:
        indices = torch.randint(len(self.images), (batch_size,), generator=random)
        return self.images.batch(indices), self._labels[indices]

    def once(self) -> Iterator[tuple[Float[Tensor, "n c h w"], Int64[Tensor, " n"]]]:
        for indices in torch.split(torch.arange(len(self.images)), BATCH):
            yield self.images.batch(indices), self._labels[indices]


class RotatedImages:
    """Square images turned by 0, 1, 2 or 3 quarter turns; the answer is how many."""

    builder: Builder = "pretext_classifier"
    classes = 4

    def __init__(self, images: ImageArray) -> None:
        if images.size != images.width:
            raise DataError(
                f"judge.kind 'rotations' turns square images by quarters, found {images.size} x {images.width}; "
                "set prepare.width to null, or judge.kind to squeezenet or inception"
            )
        self.images = images

    @property
    def channels(self) -> int:
        return self.images.channels

    def draw(self, batch_size: int, random: torch.Generator) -> tuple[Float[Tensor, "n c h w"], Int64[Tensor, " n"]]:
        indices = torch.randint(len(self.images), (batch_size,), generator=random)
        turns = torch.randint(4, (batch_size,), generator=random)
        return turned(self.images.batch(indices), turns), turns

    def once(self) -> Iterator[tuple[Float[Tensor, "n c h w"], Int64[Tensor, " n"]]]:
        for indices in torch.split(torch.arange(len(self.images)), BATCH):
            images = self.images.batch(indices)
            for quarter in range(4):
                turns = torch.full((len(images),), quarter)
                yield turned(images, turns), turns


class DomainImages:
    """Sources (0) and targets (1) of conditional data, as many of the one as of the other."""

    builder: Builder = "pretext_classifier"
    classes = 2

    def __init__(self, sources: SourceArray, targets: ImageArray) -> None:
        found, needed = sources.pixels.shape[1:], targets.pixels.shape[1:]
        if sources.classes is not None or found != needed:
            raise DataError(
                f"judge.kind 'domains' tells sources from targets, which must be images of one shape; found {found} "
                f"and {needed}: set judge.kind to rotations, squeezenet or inception (to segmenter for label maps)"
            )
        self.sources, self.targets = sources, targets

    @property
    def channels(self) -> int:
        return self.targets.channels

    def draw(self, batch_size: int, random: torch.Generator) -> tuple[Float[Tensor, "n c h w"], Int64[Tensor, " n"]]:
        half = batch_size // 2
        of_sources = torch.randint(len(self.sources), (half,), generator=random)
        of_targets = torch.randint(len(self.targets), (batch_size - half,), generator=random)
        images = torch.cat([self.sources.batch(of_sources), self.targets.batch(of_targets)])
        return images, torch.cat([torch.zeros(half), torch.ones(batch_size - half)]).long()

    def once(self) -> Iterator[tuple[Float[Tensor, "n c h w"], Int64[Tensor, " n"]]]:
        sides: tuple[SourceArray | ImageArray, ...] = (self.sources, self.targets)
        for domain, side in enumerate(sides):
            for indices in torch.split(torch.arange(len(side)), BATCH):
                yield side.batch(indices), torch.full((len(indices),), domain)


class SegmentedImages:
    """Targets of semantic data with the label maps that they belong to; ignored pixels are 255."""

    builder: Builder = "segmenter"

    def __init__(self, pairs: PairArray) -> None:
        if pairs.sources.classes is None:
            raise DataError(
                f"judge.kind 'segmenter' learns label maps, which semantic data has; this data is {pairs.pairing}: set "
                "judge.kind to classifier, rotations, squeezenet or inception"
            )
        sources, targets = pairs.sources, pairs.targets
        if (sources.height, sources.width) != (targets.size, targets.width):
            raise DataError(
                f"label maps are {sources.height} x {sources.width}, images {targets.size} x {targets.width}; "
                "a segmenter needs one size: set prepare.source_size to null"
            )
        self.pairs, self.classes = pairs, pairs.sources.classes

    @property
    def channels(self) -> int:
        return self.pairs.targets.channels

    def draw(self, batch_size: int, random: torch.Generator) -> tuple[Float[Tensor, "n c h w"], Int64[Tensor, "n h w"]]:
        return self._at(torch.randint(len(self.pairs), (batch_size,), generator=random))

    def once(self) -> Iterator[tuple[Float[Tensor, "n c h w"], Int64[Tensor, "n h w"]]]:
        # Logits of each pixel take `classes` times the room of a gray image.
        for indices in torch.split(torch.arange(len(self.pairs)), BATCH // 10):
            yield self._at(indices)

    def _at(self, indices: Int64[Tensor, " n"]) -> tuple[Float[Tensor, "n c h w"], Int64[Tensor, "n h w"]]:
        labels = torch.from_numpy(self.pairs.sources.pixels[indices.numpy()])[:, 0]
        return self.pairs.targets.batch(indices), labels.long()


def turned(images: Float[Tensor, "n c s s"], turns: Int64[Tensor, " n"]) -> Float[Tensor, "n c s s"]:
    """Turn each square image (n, C, H, H) by its number of quarter turns (n,), counter-clockwise."""
    result = images.clone()
    for quarter in range(1, 4):
        result[turns == quarter] = torch.rot90(images[turns == quarter], quarter, (2, 3))
    return result


def labelled_examples(config: JudgeConfig, *splits: ImageArray) -> "list[Examples]":
    """Return a judge's training data from splits of unconditional data; the first split determines the classes.

    Raises:
        DataError: as `examples_for`.
    """
    classes = int(splits[0].labels.max()) + 1
    return [examples_for(config, split, None, classes) for split in splits]


def examples_for(config: JudgeConfig, images: ImageArray, pairs: PairArray | None, classes: int) -> Examples:
    """Choose what a judge of this kind learns from one split.

    Args:
        config: The section `judge` of params.yaml.
        images: Targets of the split, with their classes.
        pairs: The same with their sources; None for unconditional data.
        classes: Number of classes of the train split.

    Raises:
        DataError: if the data has not what this kind of judge learns from.
    """
    if config.kind == "rotations":
        return RotatedImages(images)
    if config.kind in ("domains", "segmenter"):
        if pairs is None:
            raise DataError(
                f"judge.kind '{config.kind}' learns from sources beside targets, but this data is unconditional; set "
                "judge.kind to classifier, rotations or inception"
            )
        return DomainImages(pairs.sources, pairs.targets) if config.kind == "domains" else SegmentedImages(pairs)
    if classes < 2:
        raise DataError(
            "a classifier judge needs at least 2 classes; set judge.kind to 'inception' (or rotations, domains, "
            "segmenter, squeezenet) for unlabelled data"
        )
    return LabelledImages(images, classes)
