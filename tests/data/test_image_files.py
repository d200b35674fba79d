import io

import numpy as np
import pytest
from PIL import Image

from ganpress.data.raw.image_files import decode, image_names, is_image_name, open_zip, write_zip
from ganpress.errors import DataError


def encoded(image, kind="png", **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def test_grey_stays_one_channel_and_colour_three():
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(grey)), "x"), grey[:, :, None])
    colour = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(colour)), "x"), colour)


def test_transparency_lies_over_white():
    clear = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    assert decode(encoded(clear), "x").tolist() == [[[255, 255, 255]] * 2] * 2


def test_palette_becomes_colour():
    palette = Image.new("RGB", (2, 2), (10, 200, 30)).quantize(4)
    assert decode(encoded(palette), "x")[0, 0].tolist() == [10, 200, 30]


def test_sixteen_bit_grey_keeps_its_high_byte():
    deep = Image.fromarray(np.full((2, 2), 0x7F00, np.uint16))
    assert decode(encoded(deep), "x").tolist() == [[[0x7F]] * 2] * 2


def test_bilevel_becomes_black_and_white():
    assert decode(encoded(Image.new("1", (1, 1), 1)), "x").tolist() == [[[255]]]


def test_camera_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    image = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3))
    assert decode(encoded(image, "png", exif=exif), "x").shape == (4, 2, 3)


@pytest.mark.parametrize("kept", [0, 5, 60])
def test_cut_image_is_refused_by_name(kept):
    noise = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    content = encoded(Image.fromarray(noise))[:kept]
    with pytest.raises(DataError, match=r"a/b\.png cannot be decoded"):
        decode(content, "a/b.png")


def test_names_of_images_are_told_from_lint():
    assert is_image_name("train/cat/1.JPG")
    assert not is_image_name("__MACOSX/1.jpg")
    assert not is_image_name("train/.thumb/1.jpg")
    assert not is_image_name("labels.txt")


def test_image_names_are_sorted_relative_and_at_any_depth(tmp_path):
    for name in ("b.png", "a/deep/er/c.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert image_names(tmp_path) == ["a/deep/er/c.jpg", "b.png"]


def test_equal_members_are_equal_bytes(tmp_path):
    members = [("a.png", b"one"), ("b.png", b"two")]
    assert write_zip(tmp_path / "1.zip", members) == 2
    write_zip(tmp_path / "2.zip", members)
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()


def test_truncated_zip_is_named(tmp_path):
    path = tmp_path / "images.zip"
    write_zip(path, [("a.png", b"one" * 100)])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"images\.zip is not a complete zip file"):
        open_zip(path)
