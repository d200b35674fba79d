"""Draws the pictures of the report, `gallery.npz`: the same inputs through every generator."""

from collections.abc import Mapping

import numpy as np
import torch

from ganpress.basics.pixel_values import images_to_uint8
from ganpress.config.edge_section import ReportConfig
from ganpress.data.pictures import image_grid
from ganpress.data.prepared.generator_inputs import LatentInputs, SourceInputs
from ganpress.evaluation.measurement import interpolate_latents, open_truth
from ganpress.metrics.images.gray_values import Uint8
from ganpress.metrics.scoring import Generate
from ganpress.tracking import StageRun
from tasks.shared.stage import Stage

PURPOSE = "gallery"


def write_gallery(
    stage: Stage, run: StageRun, runners: Mapping[str, Generate], inputs: LatentInputs | SourceInputs
) -> None:
    """Write `samples/<reference>` of every generator, uint8 (n, C, H, W), with their inputs.

    Unconditional: a walk between two latents, `interpolation/<reference>`, of the generators that are neither copies
        nor controls. Conditional: `source`, uint8 images or label ids (n, …), and `truth` if each source has a target.
    """
    report = stage.section(ReportConfig, "report")
    count = report.sample_images
    samples = inputs.draw(stage.seed, PURPOSE, count)
    pictures: dict[str, Uint8] = {}
    walk = None
    if isinstance(inputs, LatentInputs):
        first, second = inputs.draw(stage.seed, "interpolation", 2)
        walk = interpolate_latents(first, second, report.interpolation_steps)
    else:
        pictures |= _given(stage, inputs, count)
    with torch.no_grad():
        for reference, runner in runners.items():
            pictures[f"samples/{reference}"] = images_to_uint8(runner(samples)).numpy()
            if walk is not None and not reference.startswith(("control/", "compress/")):
                pictures[f"interpolation/{reference}"] = images_to_uint8(runner(walk)).numpy()
    np.savez_compressed(stage.out / "gallery.npz", allow_pickle=False, **pictures)
    for name, images in pictures.items():
        if name != "source" or _shows_images(inputs):
            run.log_image(name, image_grid(images))


def _shows_images(inputs: LatentInputs | SourceInputs) -> bool:
    """Return whether sources are images of one or three channels; label ids are not pictures."""
    return isinstance(inputs, SourceInputs) and inputs.sources.classes is None and inputs.sources.channels in (1, 3)


def _given(stage: Stage, inputs: SourceInputs, count: int) -> dict[str, Uint8]:
    """Return the inputs of the samples and their targets."""
    rows = inputs.rows(stage.seed, PURPOSE, count)
    given: dict[str, Uint8] = {"source": np.array(inputs.sources.pixels[rows.numpy()])}
    truth = open_truth(stage.artifact("prepare"), "test", inputs, stage.seed, PURPOSE, count)
    return given if truth is None else given | {"truth": truth.targets_of(0, len(rows)).numpy()}
