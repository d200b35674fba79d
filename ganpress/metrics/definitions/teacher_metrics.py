"""Likeness to the teacher's images of the same inputs, and sharpness, which is read beside the teacher's."""

from typing import TYPE_CHECKING

from ganpress.metrics.metric import Metric

if TYPE_CHECKING:
    from ganpress.metrics.scores import Scores


def _mae(own: "Scores", teacher: "Scores") -> float | None:
    if own.to_teacher is not None:
        return own.to_teacher.mae
    return 0.0 if own is teacher else None  # the teacher's own row has a number to compare, too


def _sharpness(own: "Scores", teacher: "Scores") -> float:
    from ganpress.metrics.images.sharpness import sharpness_ratio

    return sharpness_ratio(own.vol, teacher.vol)


MAE_TEACHER = Metric(
    "mae_teacher",
    "MAE to teacher",
    "mean absolute error to the teacher's image of the same input, gray levels",
    "lower",
    (0.0, 255.0),
    "gray levels",
    needs=("teacher",),
    read=_mae,
)
LPIPS_TEACHER = Metric(
    "lpips_teacher",
    "LPIPS to teacher",
    "perceptual distance to the teacher's image of the same input",
    "lower",
    needs=("teacher", "weights"),
    read=lambda own, _: None if own.to_teacher is None else own.to_teacher.lpips,
)
VOL = Metric(
    "vol",
    "VoL",
    "variance of the Laplacian: sharpness of the images",
    "none",
    read=lambda own, _: float(own.vol.mean()),
)
VOL_RATIO = Metric(
    "vol_ratio",
    "VoL ratio",
    "sharpness relative to the teacher on the same inputs; 1 is equal",
    "equal",
    read=_sharpness,
    beware="Sharpness (VoL ratio) is not a quality: noise raises it, blur lowers it. 1 means as sharp as the teacher.",
)
