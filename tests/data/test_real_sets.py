"""Real CIFAR-10 and Fashion-MNIST: import, gate, prepare."""

import shutil

import pytest

from ganpress.config.data_section import PrepareConfig, ValidateConfig
from ganpress.data.gate.validation import validate_images
from ganpress.data.prepared.arrays import open_split
from ganpress.data.prepared.image_preparation import prepare_images
from ganpress.data.raw.raw_images import open_raw
from ganpress.data.sources.acquisition import import_data
from ganpress.errors import DataError

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("source", "place", "channels", "counts"),
    [
        ("mnist", "MNIST", 1, {"train": 60_000, "test": 10_000}),
        ("fashion-mnist", "FashionMNIST", 1, {"train": 60_000, "test": 10_000}),
        ("cifar10", "cifar10", 3, {"train": 50_000, "test": 10_000}),
    ],
)
def test_real_set_passes_the_gate_and_is_prepared(shared_data, tmp_path, source, place, channels, counts):
    card = import_data(source, shared_data / place, tmp_path / "data")
    assert card.counts == counts
    assert len(card.classes) == 10
    raw = open_raw(tmp_path / "data")
    config = ValidateConfig(
        min_images=60_000,
        min_size=28,
        channels=(channels,),
        max_duplicate_fraction=0.01,
        max_leaked_fraction=0,
        max_flat_fraction=0,
        min_class_share=0.9,
    )
    validate_images(raw, config, tmp_path).require_success(tmp_path)
    meta = prepare_images(raw, PrepareConfig(image_size=32, channels=channels, validation_fraction=0.1), 1, tmp_path)
    assert meta.counts == {"train": counts["train"] * 9 // 10, "validation": counts["train"] // 10, "test": 10_000}
    assert open_split(tmp_path, "train").pixels.shape == (meta.counts["train"], channels, 32, 32)


def test_cifar10_archive_cut_short_leaves_nothing(shared_data, tmp_path):
    archive = tmp_path / "cifar10_jpg_60k.tar.xz"
    shutil.copyfile(shared_data / "cifar10" / archive.name, archive)
    with archive.open("r+b") as file:
        file.truncate(10_000_000)
    with pytest.raises(DataError, match=r"cifar10_jpg_60k\.tar\.xz is truncated, damaged, or not"):
        import_data("cifar10", archive, tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]
