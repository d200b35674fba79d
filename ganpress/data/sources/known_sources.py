"""The built-in data sources, each as one object."""

from collections.abc import Callable
from pathlib import Path

from ganpress.data.sources.derived_sources import write_scenes
from ganpress.data.sources.file_sources import CELEBA_ADVICE, CIFAR_ADVICE, write_celeba, write_cifar10
from ganpress.data.sources.idx_sources import FASHION_MNIST as FASHION_FILES
from ganpress.data.sources.idx_sources import MNIST as MNIST_FILES
from ganpress.data.sources.idx_sources import IdxSource, write_digits
from ganpress.data.sources.pair_sources import EDGES2SHOES as SHOE_PAIRS
from ganpress.data.sources.pair_sources import FACADES as FACADE_PAIRS
from ganpress.data.sources.pair_sources import MAPS as MAP_PAIRS
from ganpress.data.sources.pair_sources import PAIRS_LAYOUT, UNPAIRED_LAYOUT, PairSet, write_horse2zebra, write_pair_set
from ganpress.data.sources.semantic_sources import write_cityscapes
from ganpress.data.sources.source import Source
from ganpress.errors import DataError

BERKELEY = "https://efrosgans.eecs.berkeley.edu"
"""Address of the data sets of the authors of pix2pix and CycleGAN."""
CITYSCAPES_ADVICE = (
    "get leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip from https://www.cityscapes-dataset.com, unpack both "
    "into one folder"
)


def _idx(source: IdxSource) -> Source:
    return Source(lambda path, target, _: source.write(path, target), source.download, source.advice)


def _no_cityscapes(_: Path) -> Path:
    raise DataError("it needs an account")


def _torchvision(name: str, **arguments: object) -> Callable[[Path], Path]:
    def download(folder: Path) -> Path:
        from torchvision import datasets

        getattr(datasets, name)(str(folder), download=True, **arguments)
        return folder

    return download


def _berkeley(place: str) -> Callable[[Path], Path]:
    """Download an archive of the authors of pix2pix and CycleGAN."""

    def download(folder: Path) -> Path:
        from torchvision.datasets.utils import download_url

        download_url(f"{BERKELEY}/{place}", str(folder))
        return folder / Path(place).name

    return download


def _pair_set(one: PairSet) -> Source:
    archive = f"pix2pix/datasets/{one.source}.tar.gz"
    advice = f"get {BERKELEY}/{archive}, or a folder of {PAIRS_LAYOUT}"
    return Source(
        lambda path, target, scratch: write_pair_set(one, path, target, scratch),
        _berkeley(archive),
        advice,
        conditional=True,
    )


DIGITS = Source(lambda _path, target, _scratch: write_digits(target), None, "")
MNIST = _idx(MNIST_FILES)
FASHION_MNIST = _idx(FASHION_FILES)
CIFAR10 = Source(write_cifar10, _torchvision("CIFAR10"), CIFAR_ADVICE)
CELEBA = Source(lambda path, target, _: write_celeba(path, target), _torchvision("CelebA", split="all"), CELEBA_ADVICE)
HORSE2ZEBRA = Source(
    write_horse2zebra,
    _berkeley("cyclegan/datasets/horse2zebra.zip"),
    f"get {BERKELEY}/cyclegan/datasets/horse2zebra.zip, or a folder of {UNPAIRED_LAYOUT}",
    conditional=True,
)
EDGES2SHOES, MAPS, FACADES = map(_pair_set, (SHOE_PAIRS, MAP_PAIRS, FACADE_PAIRS))
CITYSCAPES = Source(write_cityscapes, _no_cityscapes, CITYSCAPES_ADVICE, conditional=True)
SCENES = Source(lambda _path, target, _scratch: write_scenes(target), None, "", conditional=True)
