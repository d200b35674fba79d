"""Sources that are image files: CIFAR-10, CelebA, a folder of your own. All are packed into one `images.zip`.

DVC handles one large file in a moment but 60,000 small ones in minutes, and a zip has a fixed order and fixed bytes.
"""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ganpress.data.raw.dataset_card import FOLDER_PREFIX, DatasetCard, display_name
from ganpress.data.raw.file_tree import open_tree
from ganpress.data.raw.image_files import (
    image_names,
    is_image_name,
    open_zip,
    read_member,
    read_picture_file,
    write_zip,
)
from ganpress.data.raw.limits import LARGEST_TEXT_BYTES
from ganpress.data.raw.raw_images import check_folders, open_raw
from ganpress.data.sources.folder_layout import find_pictures
from ganpress.data.sources.packed_pictures import write_packed
from ganpress.data.sources.plain_pictures import PictureStyle, plain_members
from ganpress.errors import DataError, shown

ARCHIVE_NAME = "images.zip"
CIFAR_FOLDER = "cifar-10-batches-py"
CIFAR_COUNTS = {"train": 50_000, "test": 10_000}
CIFAR_ADVICE = (
    "get cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html, or a tar archive or folder of images "
    "as train/<class>/… and test/<class>/…"
)
CELEBA_ADVICE = (
    "get img_align_celeba.zip and list_eval_partition.txt from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
)
CELEBA_SPLITS = {"0": "train", "1": "train", "2": "test"}
"""Splits of the list; its validation part is added to train, because prepare holds out validation images by seed."""


def _describe(source: str, origin: str, target: Path, notes: list[str] | None = None) -> DatasetCard:
    raw = open_raw(target)
    return DatasetCard(source, "zip", raw.counts(), list(raw.classes), origin, notes=notes or [])


def write_folder(path: Path, target: Path, scratch: Path, style: PictureStyle) -> DatasetCard:
    """Pack a user's folder or archive of pictures; no picture is left out, so that the gate names unreadable ones.

    Raises:
        DataError: if `path` does not exist, has no pictures, or they have more than eight bits and `style` does not
            give the values of black and white.
    """
    name = display_name(f"{FOLDER_PREFIX}{path}")
    with open_tree(path, scratch) as tree:
        pictures = find_pictures(tree)
        if not pictures.members:
            notes = write_packed(tree, target / ARCHIVE_NAME, style)
            return _describe(name, "arrays or records of images", target, notes)
        check_folders([name for name, _ in pictures.members], str(path))
        members, notes = plain_members(pictures.members, tree.read, style, str(path))
        write_zip(target / ARCHIVE_NAME, members)
    return _describe(name, "a folder of images", target, pictures.notes + notes)


def write_cifar10(path: Path, target: Path, scratch: Path) -> DatasetCard:
    """Pack CIFAR-10 from an archive or folder of images, or from torchvision's own files below `path`.

    Raises:
        DataError: if it is not there, the archive is truncated, or images are missing.
    """
    if (batches := _first(path, CIFAR_FOLDER)) is not None:
        write_zip(target / ARCHIVE_NAME, torchvision_members(batches.parent))
    elif (pickled := _first(path, "cifar-10-python.tar.gz")) is not None:
        write_zip(target / ARCHIVE_NAME, torchvision_members(_unpacked(pickled, scratch)))
    else:
        archive = None if path.is_file() else _first(path, "*.tar*")
        with open_tree(archive or path, scratch) as tree:
            members = find_pictures(tree).members
            if not members:
                raise DataError(
                    f"{path} holds neither a tar archive, nor images, nor torchvision's cifar-10-batches-py"
                )
            write_zip(target / ARCHIVE_NAME, ((name, tree.read(stored)) for name, stored in members))
    card = _describe("cifar10", "CIFAR-10, Krizhevsky 2009", target)
    if card.counts != CIFAR_COUNTS or len(card.classes) != 10:
        raise DataError(
            f"{path} holds {card.counts} images of {len(card.classes)} classes, "
            f"cifar10 has {CIFAR_COUNTS} of 10; the copy is incomplete"
        )
    return card


def _first(path: Path, name: str) -> Path | None:
    return next(iter(sorted(path.rglob(name))), None) if path.is_dir() else (path if path.name == name else None)


def _unpacked(archive: Path, scratch: Path) -> Path:
    """Unpack the files of torchvision's CIFAR-10, and nothing else, below `scratch`."""
    with open_tree(archive, scratch) as tree:
        for name in tree.below(CIFAR_FOLDER).names:
            place = scratch / CIFAR_FOLDER / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(tree.read(f"{CIFAR_FOLDER}/{name}"))
    return scratch


def torchvision_members(root: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the images of `root`/cifar-10-batches-py as PNG files, sorted by name.

    Raises:
        DataError: if torchvision finds a file missing or of another checksum.
    """
    from torchvision import datasets

    # One split at a time is in memory (150 MB), because torchvision loads it as a whole.
    for split, train in (("test", False), ("train", True)):
        try:
            images: Any = datasets.CIFAR10(str(root), train=train)
        except RuntimeError as error:
            reason = str(error).split(". ")[0]
            raise DataError(
                f"{root / 'cifar-10-batches-py'}: torchvision refuses it ({reason}); download it again"
            ) from None
        numbers = sorted(range(len(images)), key=lambda index: (images.classes[images.targets[index]], index))
        for index in numbers:
            image, label = images[index]
            content = io.BytesIO()
            image.save(content, "png")
            yield f"{split}/{images.classes[label]}/{index:05d}.png", content.getvalue()


def write_celeba(path: Path, target: Path) -> DatasetCard:
    """Pack CelebA from `img_align_celeba` (folder or zip) and `list_eval_partition.txt` below `path`.

    Raises:
        DataError: if one of them is missing, the list cannot be read, or a listed image is absent.
    """
    listing, folder = _first(path, "list_eval_partition.txt"), _first(path, "img_align_celeba")
    archive = _first(path, "img_align_celeba.zip")
    if listing is None or (folder is None and archive is None):
        missing = "list_eval_partition.txt" if listing is None else "img_align_celeba (folder or zip)"
        raise DataError(f"{path} holds no {missing}")
    names = sorted(_partition(listing))
    if folder is not None and folder.is_dir():
        _check_listed(names, set(image_names(folder)), folder)
        members = ((f"{split}/{name}", read_picture_file(folder / name)) for split, name in names)
        write_zip(target / ARCHIVE_NAME, members)
    else:
        with open_zip(archive or path) as packed:
            inside = {Path(name).name: name for name in packed.namelist() if is_image_name(name)}
            _check_listed(names, set(inside), archive or path)
            write_zip(target / ARCHIVE_NAME, _zip_members(packed, names, inside))
    return _describe("celeba", "CelebA aligned, Liu et al. 2015", target)


def _partition(listing: Path) -> list[tuple[str, str]]:
    """Read (split, name) of each line `000001.jpg 0`."""
    pairs = []
    for number, line in enumerate(_text(listing).splitlines(), 1):
        if not (words := line.split()):
            continue
        if len(words) != 2 or words[1] not in CELEBA_SPLITS:
            raise DataError(f"{listing}, line {number}: expected '<image> 0|1|2', found '{shown(line)}'")
        pairs.append((CELEBA_SPLITS[words[1]], words[0]))
    return pairs


def _text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(LARGEST_TEXT_BYTES + 1)
    if len(content) > LARGEST_TEXT_BYTES:
        raise DataError(f"{path} has more than the {LARGEST_TEXT_BYTES:,} bytes that are allowed for a list")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start:,}); download it again") from None


def _check_listed(names: list[tuple[str, str]], present: set[str], where: Path) -> None:
    absent = [name for _, name in names if name not in present]
    if absent or not names:
        raise DataError(
            f"{where} lacks {len(absent)} of the {len(names)} images that list_eval_partition.txt names"
            + (f", first {absent[0]}" if absent else "")
        )


def _zip_members(
    packed: zipfile.ZipFile, names: list[tuple[str, str]], inside: dict[str, str]
) -> Iterator[tuple[str, bytes]]:
    for split, name in names:
        yield f"{split}/{name}", read_member(packed, inside[name])
