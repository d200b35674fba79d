"""Measures the loss of quality and the gain in speed of the ResNet generator's edge form over the published form.

    python -m benchmarks.edge_form [--train-images 16000] [--seeds 1 2] [--ngf 16] [--latency-size 256]

Both forms are trained by pix2pix as recipes/edges2digits.yaml does, on the same pairs in the same order from the same
seeds, and judged on all test pairs. Then each is written for every edge target that is installed, as floats and as
integers, and timed on one thread at the training size and, with the same weights, at a larger size, where arithmetic
matters more than calls. All files of one size are timed in turn. The SNR is that of the integer file to the float
generator, on test inputs that were not used for calibration.
"""

import argparse
import logging
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganpress.basics.pixel_values import images_to_uint8
from ganpress.basics.seeding import seeded_initialisation
from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.config.base import parse_section, read_yaml
from ganpress.config.data_section import PrepareConfig
from ganpress.config.judge_section import JudgeConfig
from ganpress.config.translation_section import TranslationTraining
from ganpress.data.prepared.arrays import open_split, read_meta
from ganpress.data.prepared.generator_inputs import canvas_of
from ganpress.data.prepared.pair_preparation import prepare_data
from ganpress.data.prepared.pairs import open_pairs, open_sources
from ganpress.data.sources.acquisition import import_data
from ganpress.metrics.distributions.frechet import features_to_statistics, frechet_distance
from ganpress.metrics.fidelity import compare_outputs
from ganpress.metrics.judges.feature_networks import ClassifierJudge, Judge
from ganpress.metrics.samples.truth import PairMeter
from ganpress.metrics.scoring import Generate, array_statistics
from ganpress.performance.latency import measure_latency
from ganpress.registries import TARGETS
from ganpress.training.judge_examples import labelled_examples
from ganpress.training.judge_training import train_judge
from ganpress.training.loop import TrainingRun
from ganpress.training.translation_training import train_translation
from models.builders import Blueprint, generator_blueprint

ROOT = Path(__file__).resolve().parents[1]
CALIBRATION_INPUTS = 64
BATCH = 50


@dataclass(frozen=True)
class Quality:
    """Scores of one trained generator on the test pairs."""

    psnr: float
    """Decibels to the true image; higher is better."""
    ssim: float
    fid: float
    """By a classifier of the targets; lower is better."""


@dataclass(frozen=True)
class Data:
    """Prepared pairs, the judge, and how to train on them."""

    folder: Path
    judge: Judge
    training: TranslationTraining

    @classmethod
    def make(cls, folder: Path, train_images: int) -> "Data":
        """Derive, prepare, and train the judge."""
        params, recipe = read_yaml(ROOT / "params.yaml"), read_yaml(ROOT / "recipes" / "edges2digits.yaml")
        import_data(recipe["data"]["source"], None, folder / "data")
        prepared = folder / "prepared"
        prepared.mkdir()
        prepare_data(folder / "data", parse_section(params, "prepare", PrepareConfig, "params.yaml"), 1, prepared)
        splits = (open_split(prepared, split) for split in ("train", "validation", "test"))
        judging = parse_section(params, "judge", JudgeConfig, "params.yaml")
        trained = train_judge(*labelled_examples(judging, *splits), judging, TrainingRun(1, "judge"))
        judge = ClassifierJudge(trained.judge, "benchmark")
        section = recipe["candidate"]["training"] | {"train_images": train_images}
        return cls(prepared, judge, TranslationTraining.model_validate(section))

    def train(self, family: str, ngf: int, seed: int) -> nn.Module:
        """Train one generator by pix2pix."""
        canvas = canvas_of(read_meta(self.folder))
        discriminator = Blueprint(
            "patch_discriminator",
            {
                "in_channels": canvas.channels + canvas.reads,
                "ndf": self.training.ndf,
                "layers": self.training.discriminator_layers,
            },
        )
        with seeded_initialisation(seed, "edge form"):
            networks = generator_blueprint(f"{family}:ngf={ngf}", canvas).build(), discriminator.build()
        data = open_pairs(self.folder, "train")
        return train_translation(*networks, data, self.training, TrainingRun(seed, "edge form")).generator.eval()

    @torch.no_grad()
    def quality(self, generator: nn.Module) -> Quality:
        """Judge a generator on all test pairs."""
        images = torch.cat([generator(batch) for batch in torch.split(self.inputs("test"), BATCH)])
        meter = PairMeter(None)
        meter.update(images_to_uint8(images), torch.from_numpy(open_split(self.folder, "test").pixels[:]))
        scores, real = meter.scores(), array_statistics(self.folder / "test.npy", self.judge)
        return Quality(
            scores.psnr, scores.ssim, frechet_distance(features_to_statistics(self.judge(images).features), real)
        )

    def inputs(self, split: Literal["train", "test"]) -> Tensor:
        """All sources of a split, (n, C, H, W) in their order."""
        sources = open_sources(self.folder, split)
        return sources.batch(torch.arange(len(sources)))


@dataclass(frozen=True)
class EdgeFile:
    """One generator in one runtime."""

    form: str
    runtime: str
    """`torch float32`, `onnx int8`, …"""
    size: int
    """Height and width of its inputs."""
    run: Generate
    snr_db: float | None
    """To the float generator; None for floats."""


def write_all(form: str, generator: nn.Module, data: Data, size: int, folder: Path) -> Iterator[EdgeFile]:
    """Write a generator for every installed target, as floats and as integers; eager torch comes first."""
    calibration, unseen = (_resized(data.inputs(split), size) for split in ("train", "test"))
    calibration, unseen = calibration[:CALIBRATION_INPUTS], unseen[: 24 if size > 64 else 128]
    yield EdgeFile(form, "torch float32", size, generator, None)
    quantized = quantize(generator, calibration, QuantizationConfig(8, 8))
    variants = [
        ("onnx", "float32", generator, "float32"),
        ("onnx", "int8, ganpress", quantized, "float32"),
        ("onnx", "int8, its own", generator, "int8"),
        ("openvino", "float32", generator, "float32"),
        ("openvino", "int8, its own", generator, "int8"),
    ]
    for number, (name, title, model, number_type) in enumerate(variants):
        target = TARGETS.get(name)
        if target is None or target.missing() is not None or number_type not in target.number_types:
            print(f"{form}: {name} {title} left out, it is not installed")
            continue
        path = folder / f"{form}-{size}-{number}{target.suffix}"
        target.write(model, path, unseen[:1], number_type, calibration if number_type == "int8" else None)
        runner = target.open(path, threads=1)
        snr = compare_outputs(generator, runner, unseen).snr_db if "int8" in title else None
        yield EdgeFile(form, f"{name} {title}", size, runner, snr)


def _resized(images: Tensor, size: int) -> Tensor:
    return images if images.shape[-1] == size else functional.interpolate(images, size=(size, size), mode="bilinear")


def report_quality(rows: Mapping[str, list[Quality]]) -> None:
    """Print scores of each form: mean over seeds, and each seed's."""
    print(f"{'form':<28}{'PSNR dB':>9}{'SSIM':>8}{'FID':>8}   by seed (PSNR/FID)")
    for form, scores in rows.items():
        psnr, ssim, fid = (statistics.mean(getattr(one, name) for one in scores) for name in ("psnr", "ssim", "fid"))
        each = ", ".join(f"{one.psnr:.2f}/{one.fid:.2f}" for one in scores)
        print(f"{form:<28}{psnr:>9.2f}{ssim:>8.3f}{fid:>8.2f}   {each}")


def report_speed(files: list[EdgeFile], inputs: Tensor, rounds: int) -> None:
    """Print times of all files of one size, and what the edge form gains in each runtime."""
    times = measure_latency({f"{one.form}/{one.runtime}": one.run for one in files}, inputs, rounds)
    published = {one.runtime: times[f"{one.form}/{one.runtime}"].p50_ms for one in files if one.form == files[0].form}
    print(f"\n{inputs.shape[-1]} px, batch 1, 1 thread, {rounds} rounds in turns")
    print(f"{'form':<28}{'runtime':<26}{'p50 ms':>9}{'gain':>7}{'SNR dB':>8}")
    for one in files:
        ms = times[f"{one.form}/{one.runtime}"].p50_ms
        snr = "" if one.snr_db is None else f"{one.snr_db:.1f}"
        print(f"{one.form:<28}{one.runtime:<26}{ms:>9.3f}{published[one.runtime] / ms:>6.2f}x{snr:>8}")


def main() -> None:
    """Train, judge, write, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--form", default="mobile_resnet_9blocks", help="published form; the other is edge_<form>")
    for name, default in (("train-images", 16000), ("ngf", 8), ("latency-size", 256), ("rounds", 15)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    forms = (options.form, f"edge_{options.form}")
    print(f"ngf={options.ngf}, {options.train_images} images shown, torch {torch.__version__}", flush=True)
    with tempfile.TemporaryDirectory(prefix="ganpress-edge-form-") as name:
        folder = Path(name)
        data = Data.make(folder, options.train_images)
        generators = {form: [data.train(form, options.ngf, seed) for seed in options.seeds] for form in forms}
        report_quality({form: [data.quality(one) for one in trained] for form, trained in generators.items()})
        for size in (data.inputs("test").shape[-1], options.latency_size):
            files = [one for form in forms for one in write_all(form, generators[form][0], data, size, folder)]
            report_speed(files, _resized(data.inputs("test")[:1], size), options.rounds)


if __name__ == "__main__":
    main()
