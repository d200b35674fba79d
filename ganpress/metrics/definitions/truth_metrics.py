"""Likeness of each image to the one that belongs to its input: paired and semantic data have it."""

import math
from typing import TYPE_CHECKING

from ganpress.metrics.metric import Metric

if TYPE_CHECKING:
    from ganpress.metrics.samples.sample import QuickSample


def _quick_miou(sample: "QuickSample") -> float:
    from ganpress.metrics.judges.judge_output import label_maps
    from ganpress.metrics.samples.truth import SegmentationMeter

    assert sample.truth is not None
    meter = SegmentationMeter(sample.truth)
    for batch in sample.batches():
        meter.update(label_maps(sample.judge(batch), sample.judge.name))
    return meter.scores().mean_iou


def _quick_psnr(sample: "QuickSample") -> float:
    import numpy as np

    from ganpress.basics.pixel_values import images_to_uint8
    from ganpress.metrics.images.similarity import peak_signal_to_noise_ratio

    assert sample.truth is not None
    values, start = [], 0
    for batch in sample.batches():
        values.append(
            peak_signal_to_noise_ratio(images_to_uint8(batch.cpu()), sample.truth.targets_of(start, len(batch)))
        )
        start += len(batch)
    return float(np.concatenate(values).mean())


MIOU = Metric(
    "miou",
    "mIoU",
    "mean class IoU of what a segmentation network reads in the image and the label map",
    "higher",
    (0.0, 1.0),
    needs=("judge", "truth", "label_maps"),
    read=lambda own, _: None if own.segmentation is None else own.segmentation.mean_iou,
    has_share=True,
    quick=_quick_miou,
    start=(0, "nothing right"),
)
PIXEL_ACCURACY = Metric(
    "pixel_accuracy",
    "Pixel accuracy",
    "share of pixels that a segmentation network labels as the map does",
    "higher",
    (0.0, 1.0),
    needs=("judge", "truth", "label_maps"),
    read=lambda own, _: None if own.segmentation is None else own.segmentation.pixel_accuracy,
)
MAE = Metric(
    "mae",
    "MAE",
    "mean absolute error to the true image, gray levels 0 to 255",
    "lower",
    (0.0, 255.0),
    "gray levels",
    needs=("truth",),
    read=lambda own, _: None if own.pairs is None else own.pairs.mae,
)
PSNR = Metric(
    "psnr",
    "PSNR",
    "peak signal-to-noise ratio to the true image, decibels",
    "higher",
    (0.0, math.inf),
    "dB",
    needs=("truth",),
    read=lambda own, _: None if own.pairs is None else own.pairs.psnr,
    quick=_quick_psnr,
    beware="PSNR, SSIM and MAE compare with the one true image of each source: where many images would be right they "
    "favour the blurred mean of them. Read them with FID and the pictures.",
)
SSIM = Metric(
    "ssim",
    "SSIM",
    "structural similarity to the true image, 1 for the same",
    "higher",
    (-1.0, 1.0),
    needs=("truth",),
    read=lambda own, _: None if own.pairs is None else own.pairs.ssim,
    has_share=True,
)
LPIPS = Metric(
    "lpips",
    "LPIPS",
    "perceptual distance to the true image",
    "lower",
    needs=("truth", "weights"),
    read=lambda own, _: None if own.pairs is None else own.pairs.lpips,
)
