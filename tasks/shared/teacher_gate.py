"""Checks that a teacher is good enough to be compressed, by limits on its distance to real pictures and on its
variety.
"""

from dataclasses import dataclass

from ganpress.config.training_section import TeacherConfig
from ganpress.errors import QualityGateFailed
from ganpress.metrics.distributions.frechet import frechet_distance_of_features
from ganpress.metrics.neighbours.precision_recall import neighbour_scores, neighbourhood
from ganpress.metrics.scoring import Generate, array_features, generated_batches, input_batches, judge_batches
from tasks.shared.candidate_scoring import QuickScorer

NEIGHBOURS = 5
PURPOSE = "teacher_gate"


@dataclass(frozen=True)
class TeacherQuality:
    """Quality of a teacher relative to real pictures, by the judge's features."""

    fid_ratio: float
    """FID of the teacher to the validation split, divided by the FID of the train split's real pictures to it."""
    recall: float
    """Share of the validation pictures that are inside the manifold of the teacher's pictures."""

    def require(self, config: TeacherConfig) -> None:
        """Refuse a teacher that breaks a limit.

        Raises:
            QualityGateFailed: if so; the message names the limit and the value found.
        """
        found = []
        if config.max_fid_ratio is not None and self.fid_ratio > config.max_fid_ratio:
            limit = f"teacher.max_fid_ratio allows {config.max_fid_ratio:g}"
            found.append(f"its FID is {self.fid_ratio:.1f} times that of real pictures, and {limit}")
        if config.min_recall is not None and self.recall < config.min_recall:
            limit = f"teacher.min_recall asks for {config.min_recall:g}"
            found.append(f"its recall is {self.recall:.3f}, and {limit}")
        if found:
            raise QualityGateFailed(
                f"the best candidate is too poor a teacher: {'; '.join(found)}. Train the candidates longer "
                "(candidate.training.train_images), give them more pictures, or lower the limit"
            )


def teacher_quality(scorer: QuickScorer, generate: Generate) -> TeacherQuality:
    """Measure a teacher against the validation split.

    Args:
        scorer: holds the judge, the inputs and the folder of the prepared pictures.
        generate: inputs (n, …) -> images (n, C, H, W) in [-1, 1].
    """
    of = scorer.of
    validation = array_features(of.prepared / "validation.npy", scorer.judge).features
    train = array_features(of.prepared / "train.npy", scorer.judge).features
    batches = input_batches(scorer.inputs, of.seed, PURPOSE, of.images)
    made = judge_batches(generated_batches(generate, batches), scorer.judge).features
    own, floor = (frechet_distance_of_features(validation, one) for one in (made, train))
    neighbours = min(NEIGHBOURS, len(validation) - 1, len(made) - 1)
    recall = neighbour_scores(neighbourhood(validation, neighbours), made).recall
    return TeacherQuality(own / max(floor, 1e-12), recall)
