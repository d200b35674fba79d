"""All that images alone say about one generator, under names that carry the protocol."""

from dataclasses import dataclass

from ganpress.metrics.frechet_error import FrechetTerms
from ganpress.metrics.inception_score import InceptionScore
from ganpress.metrics.inputs import Float64
from ganpress.metrics.kernel import KernelDistance
from ganpress.metrics.lsh import LshScores
from ganpress.metrics.lsh_neighbours import LshNeighbourScores
from ganpress.metrics.neighbours import NeighbourScores
from ganpress.metrics.segmentation import SegmentationScores
from ganpress.metrics.sharpness import sharpness_ratio
from ganpress.metrics.truth import PairScores, TeacherDistance


def metric_name(metric: str, images: int, split: str | None = None, judge: str | None = None) -> str:
    """Return a metric's name with its protocol: `fid_1000_test_judge`, `is_1000_judge`, `vol_1000`."""
    return "_".join(part for part in (metric, str(images), split, judge) if part)


def retained_share(own: float, teacher: float, higher_is_better: bool) -> float | None:
    """Return how much of the teacher's score is kept: own / teacher where higher is better, else teacher / own.

    1 is as good as the teacher, above it better. None where the share would divide by zero.
    """
    share, whole = (own, teacher) if higher_is_better else (teacher, own)
    return share / whole if whole != 0 else None


@dataclass(frozen=True)
class Scores:
    """Scores of one generator; None for what its data or its judge does not allow."""

    images: int
    """Generated images."""
    split: str
    """Real images that sets are compared with: `test`, or `all` of an unpaired data set."""
    judge: str
    fid: float
    kid: KernelDistance
    neighbours: NeighbourScores
    lsh: LshScores
    lsh_neighbours: LshNeighbourScores
    vol: Float64
    """Variance of the Laplacian of each image (N,)."""
    fid_terms: FrechetTerms | None = None
    """None below one sample a feature, where the error of FID is not known."""
    inception: InceptionScore | None = None
    """None where the judge knows no classes."""
    segmentation: SegmentationScores | None = None
    """None without label maps, or where the judge reads none."""
    pairs: PairScores | None = None
    """Similarity to the real targets; None unless inputs have a target of their own."""
    to_teacher: TeacherDistance | None = None
    """Distance to the teacher's images of the same inputs; None for the teacher."""

    def metrics(self, teacher: "Scores") -> dict[str, float]:
        """Return all numbers by name, with those that only mean something beside the teacher's."""
        return {
            **self._of_classes(),
            **self._against_real(),
            **self._against_truth(),
            **self._against_teacher(teacher),
            metric_name("vol", self.images): float(self.vol.mean()),
            metric_name("vol_ratio", self.images): sharpness_ratio(self.vol, teacher.vol),
            **self._retained(teacher),
        }

    def _of_classes(self) -> dict[str, float]:
        if self.inception is None:
            return {}
        name = metric_name("is", self.images, None, self.judge)
        return {name: self.inception.mean, f"{name}_std": self.inception.split_std}

    def _against_real(self) -> dict[str, float]:
        values = {
            "fid": self.fid,
            "kid": self.kid.mean,
            "precision": self.neighbours.precision,
            "recall": self.neighbours.recall,
            "density": self.neighbours.density,
            "coverage": self.neighbours.coverage,
            "precision_lsh": self.lsh.precision,
            "recall_lsh": self.lsh.recall,
            "precision_lsh_ceiling": self.lsh.precision_ceiling,
            "recall_lsh_ceiling": self.lsh.recall_ceiling,
            "precision_lshknn": self.lsh_neighbours.precision,
            "recall_lshknn": self.lsh_neighbours.recall,
        }
        numbers = {self.set_name(name): value for name, value in values.items()}
        if self.kid.standard_error is not None:
            numbers[f"{self.set_name('kid')}_error"] = self.kid.standard_error
        if self.fid_terms is not None:
            numbers[f"{self.set_name('fid')}_error"] = self.fid_terms.standard_error
        return numbers

    def set_name(self, metric: str) -> str:
        """Name of a metric that compares the generated set with the real one: `fid_1000_test_judge`."""
        return metric_name(metric, self.images, self.split, self.judge)

    def _against_truth(self) -> dict[str, float]:
        numbers: dict[str, float] = {}
        if self.segmentation is not None:
            numbers[self.set_name("miou")] = self.segmentation.mean_iou
            numbers[self.set_name("pixel_accuracy")] = self.segmentation.pixel_accuracy
        if self.pairs is not None:
            numbers |= {
                metric_name(name, self.images, self.split): value for name, value in _similarities(self.pairs).items()
            }
        return numbers

    def _against_teacher(self, teacher: "Scores") -> dict[str, float]:
        if self.to_teacher is None:
            # The teacher is no way off itself; its row says so, where the others have a number to compare.
            return {metric_name("mae_teacher", self.images): 0.0} if self is teacher else {}
        numbers = {metric_name("mae_teacher", self.images): self.to_teacher.mae}
        if self.to_teacher.lpips is not None:
            numbers[metric_name("lpips_teacher", self.images)] = self.to_teacher.lpips
        return numbers

    def _retained(self, teacher: "Scores") -> dict[str, float]:
        shares = {"fid_retained": retained_share(self.fid, teacher.fid, higher_is_better=False)}
        if self.inception is not None and teacher.inception is not None:
            shares["is_retained"] = retained_share(self.inception.mean, teacher.inception.mean, higher_is_better=True)
        if self.segmentation is not None and teacher.segmentation is not None:
            own, whole = self.segmentation.mean_iou, teacher.segmentation.mean_iou
            shares["miou_retained"] = retained_share(own, whole, higher_is_better=True)
        if self.pairs is not None and teacher.pairs is not None:
            shares["ssim_retained"] = retained_share(self.pairs.ssim, teacher.pairs.ssim, higher_is_better=True)
        return {name: share for name, share in shares.items() if share is not None}


def _similarities(pairs: PairScores) -> dict[str, float]:
    values = {"mae": pairs.mae, "psnr": pairs.psnr, "ssim": pairs.ssim, "lpips": pairs.lpips}
    return {name: value for name, value in values.items() if value is not None}
