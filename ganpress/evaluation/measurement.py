"""Measures finished generators: quality, diversity and sharpness against real images, and against the truth."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganpress.basics.device import CPU, has_float64
from ganpress.basics.pixel_values import images_to_uint8
from ganpress.config.edge_section import EvaluateConfig
from ganpress.data.prepared.arrays import Split, open_split, read_meta
from ganpress.data.prepared.generator_inputs import LatentInputs, SourceInputs
from ganpress.metrics.distributions.frechet import frechet_distance_of_features
from ganpress.metrics.distributions.frechet_error import frechet_terms
from ganpress.metrics.distributions.inception_score import inception_score
from ganpress.metrics.distributions.kernel import kernel_distance
from ganpress.metrics.distributions.kernel_error import kernel_terms
from ganpress.metrics.feature_inputs import Float64, as_tensor
from ganpress.metrics.images.sharpness import variance_of_laplacian
from ganpress.metrics.intervals.random_parts import SMALLEST, RandomParts
from ganpress.metrics.judges.feature_networks import Judge
from ganpress.metrics.judges.judge_output import JudgeOutput
from ganpress.metrics.neighbours.hashed import HashedReference, hash_reference, score_hashed
from ganpress.metrics.neighbours.hashed_nearest import (
    HashedNeighbourhood,
    LshNeighbourSettings,
    hashed_neighbourhood,
    score_hashed_neighbours,
)
from ganpress.metrics.neighbours.precision_recall import (
    Neighbourhood,
    NeighbourScores,
    neighbour_scores,
    neighbourhood,
)
from ganpress.metrics.samples.image_spool import ImageSpool
from ganpress.metrics.samples.sample import Sample
from ganpress.metrics.samples.sample_store import SampleStore
from ganpress.metrics.samples.truth import Distance, PairMeter, SegmentationMeter, TeacherMeter, Truth
from ganpress.metrics.scores import Scores
from ganpress.metrics.scoring import (
    BATCH,
    Generate,
    Inputs,
    array_features,
    generated_batches,
    input_batches,
    judge_batches,
)
from ganpress.registries import METRICS

logger = logging.getLogger("ganpress")

PURPOSE = "evaluate"
"""Purpose of the seed with which `score_generator` draws its inputs."""
MOST_EXACT = 100_000
"""Number of images on one side above which exact neighbours are left out: their time grows with the square (296 CPU
seconds for 50,000 of 2,048 features), and precision and recall by hashing measure the same."""


@dataclass(frozen=True)
class Reference:
    """Features of real images by the judge, with everything that the scores of all generators share."""

    split: str
    features: Tensor
    """Features (N, F) on the device that searches exact neighbours."""
    neighbourhood: Neighbourhood | None
    """Exact neighbours of the features; None for more than `MOST_EXACT` images."""
    hashed: HashedReference
    hashed_neighbours: HashedNeighbourhood
    parts: RandomParts[HashedReference]
    """Random parts of the features, which give the errors of scores by hashing."""
    neighbour_parts: RandomParts[HashedNeighbourhood]
    truth: Truth | None = None
    """Truth of each input that `PURPOSE` draws; None if inputs have no truth."""
    lpips: Distance | None = None


def reference_features(
    array_path: Path | Sequence[Path],
    judge: Judge,
    neighbours: int,
    split: str = "test",
    batch_size: int = BATCH,
    truth: Truth | None = None,
    lpips: Distance | None = None,
    seed: int = 0,
    device: torch.device = CPU,
) -> Reference:
    """Compute the features of a prepared split (N, C, H, W) uint8, or of several together, in one pass, batch by batch.

    Args:
        array_path: The split's array, or several.
        judge: The feature network.
        neighbours: k of all nearest-neighbour balls.
        split: Name of the split in metrics.
        batch_size: Largest number of images in a batch of the judge.
        truth: Truth of each input.
        lpips: Perceptual distance if its weights are given.
        seed: Seed of the hashes; scores by hashing are comparable only for the same seed.
        device: Device that searches exact neighbours.

    Raises:
        DataError: if a file is missing or damaged, there are not more images than `neighbours`, or the judge's
            features are the same for all of them.
    """
    features = array_features(array_path, judge, batch_size).features
    settings = LshNeighbourSettings(neighbours=neighbours)
    there = as_tensor(features, "the reference features", 2).to(device if has_float64(device) else CPU)
    return Reference(
        split,
        there,
        neighbourhood(there, neighbours) if _may_be_exact(len(there), "real") else None,
        hash_reference(features, seed),
        hashed_neighbourhood(features, seed, settings),
        RandomParts(features, seed, lambda part: hash_reference(part, seed), score_hashed),
        RandomParts(
            features,
            seed,
            lambda part: hashed_neighbourhood(part, seed, settings),
            score_hashed_neighbours,
            max(SMALLEST, neighbours + 1),
        ),
        truth,
        lpips,
    )


def real_arrays(prepared_dir: Path) -> tuple[str, list[Path]]:
    """Return the real images that finished generators are measured against, and their name in metrics.

    `test` of unconditional, paired and semantic data; `all`, that is train and test targets, of unpaired data, whose
    test sets are small (protocol of CycleGAN's and GAN Compression's FIDs).

    Raises:
        DataError: if prepared data is missing or damaged.
    """
    conditioning = read_meta(prepared_dir).conditioning
    if conditioning is not None and conditioning.pairing == "unpaired":
        return "all", [prepared_dir / "train.npy", prepared_dir / "test.npy"]
    return "test", [prepared_dir / "test.npy"]


def open_truth(
    prepared_dir: Path, split: Split, inputs: LatentInputs | SourceInputs, seed: int, purpose: str, count: int
) -> Truth | None:
    """Return the truth of each of the inputs that `inputs.draw(seed, purpose, count)` gives.

    The result is None for latents and unpaired data, whose inputs have no truth.

    Raises:
        DataError: if prepared data is missing or damaged.
    """
    conditioning = read_meta(prepared_dir).conditioning
    if isinstance(inputs, LatentInputs) or conditioning is None or conditioning.pairing == "unpaired":
        return None
    rows = inputs.rows(seed, purpose, count).numpy()
    targets = open_split(prepared_dir, split).pixels
    if inputs.sources.classes is None:
        return Truth(rows, targets)
    return Truth(rows, targets, inputs.sources.pixels, inputs.sources.classes)


def score_generator(
    generate: Generate,
    judge: Judge,
    reference: Reference,
    config: EvaluateConfig,
    seed: int,
    inputs: Inputs,
    teacher: ImageSpool | None = None,
    keep: ImageSpool | None = None,
    on_images: Callable[[int], None] | None = None,
    samples: SampleStore | None = None,
) -> Scores:
    """Measure one generator on the inputs that all generators get for this seed.

    Images are generated, measured and discarded batch by batch; only features, probabilities and a few numbers per
    image are kept.

    Args:
        generate: inputs (n, …) -> images (n, C, H, W) in [-1, 1].
        judge: The feature network with which `reference` was computed.
        reference: Real images, and the truth of each input if it has one.
        config: Sample counts.
        seed: Seed of inputs, splits and subsets.
        inputs: Source of the inputs: latents, or the sources of a split.
        teacher: The teacher's images of the same inputs, to compare with; None for the teacher itself.
        keep: Array in which this generator's images are kept.
        on_images: Called with the size of each finished batch.
        samples: Object that keeps this generator's images and the judge's features of them.

    Raises:
        DataError: if the generator produces NaN, or a sample count does not fit the data.
    """
    meters = _Meters(reference, teacher, keep, samples)

    def look(images: Tensor, seen: JudgeOutput) -> None:
        meters.update(images, seen)
        if on_images is not None:
            on_images(len(images))

    batches = input_batches(inputs, seed, PURPOSE, config.images)
    seen = judge_batches(generated_batches(generate, batches), judge, look)
    real = reference.features
    probabilities = seen.probabilities
    return Scores(
        images=len(seen.features),
        split=reference.split,
        judge=judge.name,
        fid=frechet_distance_of_features(real, seen.features),
        kid=kernel_distance(real, seen.features, config.kid_subsets, config.kid_subset_size, seed),
        fid_terms=frechet_terms(real, seen.features),
        kid_terms=kernel_terms(real, seen.features, config.kid_subsets, config.kid_subset_size, seed),
        neighbours=_exact(reference, seen.features),
        lsh=score_hashed(reference.hashed, seen.features),
        lsh_neighbours=score_hashed_neighbours(reference.hashed_neighbours, seen.features),
        lsh_parts=reference.parts.scores(seen.features),
        lsh_neighbour_parts=reference.neighbour_parts.scores(seen.features),
        vol=np.concatenate(meters.vol),
        inception=None if probabilities is None else inception_score(probabilities, config.is_splits, seed),
        segmentation=meters.segmentation.scores() if meters.segmentation else None,
        pairs=meters.pairs.scores() if meters.pairs else None,
        to_teacher=meters.to_teacher.scores() if meters.to_teacher else None,
        others=_measured(Sample(seen.features, real.cpu().numpy(), probabilities, seed)),
    )


def _exact(reference: Reference, features: NDArray[np.float32]) -> NeighbourScores | None:
    """Return precision and recall by exact neighbours; None if a side has too many images."""
    if reference.neighbourhood is None or not _may_be_exact(len(features), "generated"):
        return None
    return neighbour_scores(reference.neighbourhood, features)


def _may_be_exact(images: int, side: str) -> bool:
    if images > MOST_EXACT:
        logger.warning(
            "exact precision, recall, density and coverage are left out: there are %d %s images, and above %d "
            "they would take too long; precision and recall by hashing (lsh, lshknn) are measured",
            *(images, side, MOST_EXACT),
        )
    return images <= MOST_EXACT


def _measured(sample: Sample) -> dict[str, float]:
    """Return every metric that needs only features."""
    return {
        name: metric.measure(sample)
        for name, metric in METRICS.items()
        if metric.measure is not None and ("classes" not in metric.needs or sample.probabilities is not None)
    }


class _Meters:
    """Measures all values per image in one pass."""

    def __init__(
        self, reference: Reference, teacher: ImageSpool | None, keep: ImageSpool | None, samples: SampleStore | None
    ) -> None:
        self._truth, self._teacher, self._keep, self._samples = reference.truth, teacher, keep, samples
        self._seen = 0
        self.vol: list[Float64] = []
        self.pairs = PairMeter(reference.lpips) if reference.truth is not None else None
        self.to_teacher = TeacherMeter(reference.lpips) if teacher is not None else None
        self.segmentation: SegmentationMeter | None = None

    def update(self, images: Tensor, seen: JudgeOutput) -> None:
        """Measure the next batch of images (n, C, H, W) in [-1, 1]."""
        pixels = images_to_uint8(images).cpu()
        self.vol.append(variance_of_laplacian(pixels.numpy()))
        if self._truth is not None and self.pairs is not None:
            self.pairs.update(pixels, self._truth.targets_of(self._seen, len(pixels)))
            if self._truth.label_maps is not None and seen.label_maps is not None:
                self.segmentation = self.segmentation or SegmentationMeter(self._truth)
                self.segmentation.update(seen.label_maps)
        if self._teacher is not None and self.to_teacher is not None:
            self.to_teacher.update(pixels, self._teacher.batch(self._seen, len(pixels)))
        if self._keep is not None:
            self._keep.append(pixels)
        if self._samples is not None:
            self._samples.append(pixels, seen)
        self._seen += len(pixels)


def interpolate_latents(first: Tensor, second: Tensor, steps: int) -> Tensor:
    """Return `steps` latents (steps, Z) from `first` (Z,) to `second` (Z,) along the great circle.

    A straight line would pass nearer to the origin than latents from N(0, I) ever lie (White 2016).
    """
    angle = torch.arccos((first @ second / (first.norm() * second.norm())).clamp(-1, 1))
    share = torch.linspace(0, 1, steps)[:, None]
    if float(angle.sin()) < 1e-6:  # The latents are parallel, so the path between them is straight.
        return (1 - share) * first + share * second
    return (torch.sin((1 - share) * angle) * first + torch.sin(share * angle) * second) / angle.sin()
