"""Pictures that nearly equal another one are counted; different ones and exact copies are not."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from flows.fitting_settings import warnings
from ganpress.data.gate.near_duplicates import NearDuplicates, find_near_duplicates
from ganpress.data.gate.survey import survey
from ganpress.data.raw.raw_images import RawImage, open_raw
from ganpress.data.sources.acquisition import import_data
from ganpress.errors import DataError


def picture(seed, side=64):
    """Random waves: no two seeds look alike."""
    random, places = np.random.default_rng(seed), np.linspace(0, 1, side)
    waves = [
        np.sin(2 * np.pi * (x * places[None] + y * places[:, None]) + phase)
        for x, y, phase in random.uniform(-4, 4, (6, 3))
    ]
    grey = 128 + 20 * np.sum(waves, axis=0)
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def image(pixels, name, split="train"):
    return RawImage(name, split, -1, pixels.size, lambda: pixels, pixels.tobytes)


def as_jpeg(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=50)
    return np.asarray(Image.open(io.BytesIO(stream.getvalue())))


CHANGES = {
    "saved again": as_jpeg,
    "halved": lambda pixels: np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BILINEAR)),
    "brightened": lambda pixels: (pixels * 1.1 + 5).clip(0, 255).astype(np.uint8),
    "in grey": lambda pixels: pixels[..., :1],
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_copy_is_found(name):
    images = [image(picture(seed), f"{seed}.png") for seed in range(9)]
    copy = image(CHANGES[name](picture(4)), "copy.png", split="test")
    assert find_near_duplicates([*images, copy]) == NearDuplicates(2 / 10, 2 / 10, ("4.png", "copy.png"))


def test_different_pictures_exact_copies_and_plain_ones_are_none():
    images = [image(picture(seed), f"{seed}.png") for seed in range(40)]
    plain = [image(np.full((64, 64, 3), level, np.uint8), f"plain{level}.png") for level in (100, 101)]
    assert find_near_duplicates([*images, image(picture(4), "copy.png"), *plain]) == NearDuplicates()
    assert find_near_duplicates([]) == NearDuplicates()


def test_an_unreadable_picture_is_left_out():
    def broken():
        raise DataError("no picture")

    unreadable = replace(image(picture(0), "broken.png"), decode=broken)
    assert find_near_duplicates([unreadable, image(picture(1), "1.png")]) == NearDuplicates()


def test_data_add_warns_of_them(tmp_path):
    """A folder of pictures of which half came twice."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for seed in range(6):
        Image.fromarray(picture(seed)).save(pictures / f"{seed}.png")
    for seed in range(3):
        Image.fromarray(as_jpeg(picture(seed))).save(pictures / f"again{seed}.png")
    card = import_data(f"folder:{pictures}", None, tmp_path / "data")
    found = list(warnings(survey(open_raw(tmp_path / "data"), card)))
    assert any("66.7% of the pictures are nearly equal to another one, such as" in one for one in found), found
