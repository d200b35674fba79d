"""Generators that the edge benchmark measures, with their inputs and, if there is one, a metric of their images."""

import importlib.util
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ganpress.basics.seeding import seeded_initialisation, torch_generator
from ganpress.compression.quantization import QuantizationConfig
from ganpress.data.prepared.generator_inputs import open_inputs
from ganpress.data.prepared.pairs import open_pairs
from ganpress.errors import DataError
from ganpress.files.checkpoint import load_model
from ganpress.imported.weight_keys import import_generator, read_state
from ganpress.metrics.distributions.inception_score import inception_score
from ganpress.metrics.judges.feature_networks import load_judge
from ganpress.metrics.scoring import Generate
from ganpress.performance.generator_cost import generator_cost
from models.builders import generator_blueprint
from models.family import LATENT, Canvas
from models.wdcgan import WdcganGenerator, wdcgan_generator

CHECKOUT = Path(__file__).resolve().parents[1]
TEACHER, COMPRESSED = "resnet-9", "resnet-9 compressed"
MOBILE = "mobile resnet ngf=32"
EDGE_FORM = "edge form of it"
TRANSLATION = "resnet-9 edges2digits"
LARGE_BATCH = 64
PICTURE_BATCH = 16
"""Instead of 64 for wide generators of pictures, whose features of 64 take gigabytes in each of nine runtimes; 32 for
SRGAN, 8 for the teacher, of which a call of 64 takes more than a minute."""


PLAIN = QuantizationConfig(8, 8)


@dataclass(frozen=True)
class Metric:
    """What a generator's images are worth."""

    name: str
    of: Callable[[Generate], float]


@dataclass(frozen=True)
class Subject:
    """One generator."""

    name: str
    model: nn.Module
    calibration: Tensor
    """Inputs (n, …) that ranges are measured on."""
    held_out: Tensor
    """Inputs (m, …) that images are compared on."""
    weights: str
    """Where they come from."""
    batches: tuple[int, ...] = (1, LARGE_BATCH)
    metric: Metric | None = None
    quantization: QuantizationConfig = PLAIN
    """Of ganpress's own integers."""

    @property
    def macs(self) -> int:
        """True multiply-accumulates of one image."""
        return generator_cost(self.model, self.calibration[:1]).macs_exact


@dataclass(frozen=True)
class Sources:
    """Where the benchmark finds trained weights."""

    shared: Path | None
    """Folder of real data with `generators/`; None where there is none."""
    artifacts: Path | None = None
    """Folder of a run of the chain on digits: `teacher/generator.safetensors` and `judge/judge.safetensors`."""
    translation: Path | None = None
    """Folder of a run on pairs: `teacher/generator.safetensors`, one with instance normalisation, and `prepare/`."""


def find_shared() -> Path | None:
    """The folder of real data beside the checkout, as the tests find it."""
    named = os.environ.get("GANPRESS_SHARED_DATA")
    folder = Path(named) if named else CHECKOUT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


def subjects(sources: Sources) -> dict[str, Callable[[], Subject]]:
    """Every subject by name; each is made when it is called."""
    return {
        "wdcgan d=64": lambda: _wdcgan(64),
        "wdcgan d=16": lambda: _wdcgan(16),
        "wdcgan digits": lambda: _trained_wdcgan(sources.artifacts),
        TEACHER: lambda: _resnet(TEACHER, "resnet_9blocks:ngf=64", sources, batches=(1, 8)),
        COMPRESSED: lambda: _published(sources),
        TRANSLATION: lambda: _trained_translation(sources.translation),
        MOBILE: lambda: _resnet(MOBILE, "mobile_resnet_9blocks:ngf=32", sources),
        EDGE_FORM: lambda: _resnet(EDGE_FORM, "edge_mobile_resnet_9blocks:ngf=32", sources),
        "spade small": _spade,
        "srgan x4": lambda: _srgan(sources),
    }


def _wdcgan(depth: int) -> Subject:
    z = torch.randn(512, LATENT, generator=torch_generator(0, "benchmark", "inputs"))
    model = generator_like_trained(depth, 64)
    return Subject(f"wdcgan d={depth}", model, z[:256], z[256:], "random, with the statistics of trained ones")


@torch.no_grad()
def generator_like_trained(depth: int, size: int) -> WdcganGenerator:
    """A generator with Laplace weights, log-normal channel scales and measured normalisation statistics."""
    model, random = wdcgan_generator(str(depth), size, 1).train(), torch_generator(0, "benchmark", "weights")
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=random)
        if parameter.dim() == 1:
            parameter.copy_(0.3 * noise)
            continue
        laplace = noise.sign() * torch.empty(parameter.shape).exponential_(generator=random)
        scale = torch.exp(0.5 * torch.randn(parameter.shape[1], generator=random))
        parameter.copy_(0.02 * laplace * scale[None, :, None, None])
    for _ in range(8):
        model(torch.randn(64, LATENT, generator=random))
    return model.eval()


def _trained_wdcgan(artifacts: Path | None) -> Subject:
    """The teacher of a run of the chain, its images judged by that run's judge."""
    if artifacts is None:
        raise DataError("no trained W-DCGAN: name a run's folder with --artifacts (it holds teacher/ and judge/)")
    model, _ = load_model(artifacts / "teacher" / "generator.safetensors")
    judge = load_judge(artifacts / "judge" / "judge.safetensors")
    z = torch.randn(2256, LATENT, generator=torch_generator(0, "benchmark", "inputs"))

    def score(generate: Generate) -> float:
        outputs = [judge(generate(part)).probabilities for part in torch.split(z[256:], LARGE_BATCH)]
        return inception_score(np.concatenate([one for one in outputs if one is not None]), splits=1, seed=0).mean

    metric = Metric("IS of 2,000", score)
    return Subject("wdcgan digits", model.eval(), z[:256], z[256:512], "trained", metric=metric)


def _resnet(name: str, generator: str, sources: Sources, batches: tuple[int, ...] = (1, PICTURE_BATCH)) -> Subject:
    with seeded_initialisation(0, "benchmark", "weights"):
        model = generator_blueprint(generator, Canvas(3, 256, 256, reads=3)).build()
    pictures = _pictures(sources)
    if any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules()):
        _measure_statistics_(model, pictures)
    return Subject(
        name, model.eval(), pictures[:2], pictures[2:], "random", batches, quantization=careful_quantization()
    )


def careful_quantization() -> QuantizationConfig:
    """Every layer in integers, so that speed and noise are those of integers throughout."""
    return QuantizationConfig(8, 8, max_crest=math.inf)


@torch.no_grad()
def _measure_statistics_(model: nn.Module, inputs: Tensor) -> None:
    """Give batch normalisations running statistics of `inputs`."""
    model.train()
    for _ in range(20):
        model(inputs[:, :, ::4, ::4])
    model.eval()


def _published(sources: Sources) -> Subject:
    model, _ = import_generator(_weights(sources, "gan_compression_horse2zebra.pth"), "gan_compression")
    pictures = _pictures(sources)
    calibration = torch.cat([pictures[:2], pictures[:2].flip(-1)])
    return Subject(COMPRESSED, model.eval(), calibration, pictures[2:], "published horse2zebra")


def _trained_translation(artifacts: Path | None) -> Subject:
    """The teacher of a run on pairs, its images judged by the truth."""
    if artifacts is None:
        raise DataError("no trained generator of pairs: name a run's folder with --translation (teacher/ and prepare/)")
    model, _ = load_model(artifacts / "teacher" / "generator.safetensors")
    calibration = open_inputs(artifacts / "prepare", "train").draw(0, "benchmark", 256)
    pairs = open_pairs(artifacts / "prepare", "validation")
    rows = torch.arange(min(256, len(pairs)))
    sources, truth = pairs.batch(rows, rows)

    def psnr(generate: Generate) -> float:
        error = torch.cat([generate(part) for part in sources.split(LARGE_BATCH)]) - truth
        return float(-10 * torch.log10(error.square().mean() / 4))

    metric = Metric("PSNR to the truth, dB", psnr)
    return Subject(TRANSLATION, model.eval(), calibration, sources, "trained", metric=metric)


def _spade() -> Subject:
    classes, size, random = 8, 128, torch_generator(0, "benchmark", "inputs")
    with seeded_initialisation(0, "benchmark", "weights"):
        name = f"spade:ngf=8 semantic={classes}"
        model = generator_blueprint(name, Canvas(3, size, size, reads=classes)).build()
    regions = functional.interpolate(torch.randn(16, classes, 16, 16, generator=random), size=size, mode="bilinear")
    maps = functional.one_hot(regions.argmax(1), classes).permute(0, 3, 1, 2).float().contiguous()
    _measure_statistics_(model, maps.repeat_interleave(4, 2).repeat_interleave(4, 3)[:8])
    return Subject("spade small", model.eval(), maps[:8], maps[8:], "random")


def _srgan(sources: Sources) -> Subject:
    """The foreign generator: four times the size of photographs, judged by their originals."""
    specification = importlib.util.spec_from_file_location("srgan", CHECKOUT / "tests" / "foreign" / "srgan.py")
    assert specification is not None  # a file of this checkout
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    network: nn.Module = module.build()
    network.load_state_dict(read_state(_weights(sources, "srgan_x4.pth")))
    truth = (_pictures(sources) + 1) / 2  # this network's pictures lie in [0, 1]
    small = functional.interpolate(truth, scale_factor=0.25, mode="bicubic", antialias=True).clamp(0, 1)

    def psnr(generate: Generate) -> float:
        error = torch.cat(
            [generate(one[None]).clamp(0, 1) - real for one, real in zip(small[2:], truth[2:], strict=True)]
        )
        return float(-10 * torch.log10(error.square().mean()))

    metric = Metric("PSNR to the truth, dB", psnr)
    return Subject("srgan x4", network.eval(), small[:2], small[2:], "published", (1, 32), metric)


def _weights(sources: Sources, name: str) -> Path:
    path = None if sources.shared is None else sources.shared / "generators" / name
    if path is None or not path.is_file():
        raise DataError(f"no published weights {name}: set GANPRESS_SHARED_DATA to a folder with generators/{name}")
    return path


def _pictures(sources: Sources) -> Tensor:
    """Photographs (5, 3, 256, 256) in [-1, 1]: three horses where the shared data lies, and two that sklearn brings."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    pixels = [photograph[128:384, 192:448] for photograph in load_sample_images().images]
    folder = None if sources.shared is None else sources.shared / "generators"
    if folder is not None:
        horses = sorted(folder.glob("horse_*.png"))
        pixels = [np.array(Image.open(path).convert("RGB").resize((256, 256))) for path in horses] + pixels
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
