"""Pictures that lie in arrays or records instead of files: npz and npy, Parquet, tar shards (WebDataset)."""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganpress.data.raw.file_tree import FileTree, open_tree
from ganpress.data.raw.image_files import encode_png, is_image_name, open_zip, write_zip
from ganpress.data.sources.folder_layout import SPLIT_WORDS, class_folder, left_out
from ganpress.data.sources.plain_pictures import PictureStyle, scaled
from ganpress.errors import DataError, shown

Member = tuple[str, bytes]
CONVERSIONS = {
    ".h5": "np.savez('pictures.npz', images=h5py.File('{name}')['images'], labels=h5py.File('{name}')['labels'])",
    ".mdb": "write each record to a file of its own by `lmdb` (py-lmdb)",
    ".tfrecord": "write each record to a file of its own by `tensorflow_datasets`",
    ".pt": "torchvision.utils.save_image(picture, f'{{number:06}}.png') for each picture of it",
    ".mp4": "ffmpeg -i {name} pictures/%06d.png",
    ".pdf": "pdfimages -png {name} pictures/page",
    ".heic": "magick mogrify -format png *.heic",
    ".jxl": "djxl {name} picture.png for each",
    ".svg": "rsvg-convert -w 256 {name} for each",
    ".dcm": "dcm2pnm +on {name} picture.png for each (dcmtk)",
}
CONVERSIONS |= {".hdf5": CONVERSIONS[".h5"], ".heif": CONVERSIONS[".heic"], ".lmdb": CONVERSIONS[".mdb"]}


def write_packed(tree: FileTree, archive: Path, style: PictureStyle) -> list[str]:
    """Write the pictures of a tree's arrays and records into one zip; return what to say of them.

    Raises:
        DataError: if there are none that can be read; it names the command that converts the first kind it knows.
    """
    readers = {name: reader for name in tree.names if (reader := READERS.get(PurePosixPath(name).suffix.lower()))}
    if not readers:
        raise DataError(_nothing(tree))
    scratch = archive.parent / "record"
    try:
        read = ((reader, name) for name, reader in sorted(readers.items()))
        members = chain.from_iterable(reader(tree, name, scratch, style) for reader, name in read)
        count = write_zip(archive, _distinct(members))
    finally:
        scratch.unlink(missing_ok=True)
    if not count:
        raise DataError(f"{tree.where} holds {len(readers):,} files of records, and no pictures in them")
    kinds = sorted({PurePosixPath(name).suffix.lower() for name in readers})
    files = "1 file" if len(readers) == 1 else f"{len(readers):,} files"
    said = f"{count:,} pictures were read from {files} ({', '.join(kinds)})"
    return [said, *left_out(name for name in tree.names if name not in readers)]


def _nothing(tree: FileTree) -> str:
    kinds = "png, jpg, webp, bmp, tif, gif, ppm, avif, jp2, tga; npz, npy, parquet, tar"
    nothing = f"{tree.where} holds no images ({kinds}), at no depth"
    for name in tree.names:
        if command := CONVERSIONS.get(PurePosixPath(name).suffix.lower()):
            path = PurePosixPath(name)
            return f"{nothing}, but {shown(name)}; convert it: {command.format(name=path.name)}"
    found = "; ".join(left_out(tree.names))
    return f"{nothing}{f': {found}' if found else ''}; name another folder"


def _distinct(members: Iterable[Member]) -> Iterator[Member]:
    """Number names that come again: shards count their records anew."""
    seen: dict[str, int] = {}
    for name, content in members:
        path = PurePosixPath(name)
        again = seen.get(name, 0)
        seen[name] = again + 1
        yield (name if not again else str(path.with_name(f"{path.stem}_{again}{path.suffix}"))), content


def _split_of(name: str) -> str | None:
    """Return the split that a file or an array is called after: `train-00000-of-00001`, `x_test`, `Val/0`."""
    words = "".join(letter if letter.isalnum() else " " for letter in name).lower().split()
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)


def _place(split: str | None, label: object, stem: str) -> str:
    folder = "" if label is None else f"{class_folder(str(label))}/"
    return f"{f'{split}/' if split else ''}{folder}{stem}"


def _array_members(tree: FileTree, name: str, scratch: Path, style: PictureStyle) -> Iterator[Member]:
    """Yield the pictures of one .npz or .npy as PNG files; labels are vectors of whole numbers or texts."""
    arrays = _arrays(tree, name, scratch)
    pictures = {key: value for key, value in arrays.items() if value.ndim in (3, 4) and value.size}
    for key, value in pictures.items():
        split = _split_of(key) or _split_of(name)
        labels = _labels_of(arrays, len(value), _split_of(key))
        for number, pixels in enumerate(_channels_last(value, f"{tree.where}: {shown(name)}", style)):
            label = None if labels is None else labels[number]
            yield _place(split, label, f"{PurePosixPath(name).stem}_{key}_{number:07d}.png"), encode_png(pixels)


def _arrays(tree: FileTree, name: str, scratch: Path) -> dict[str, NDArray[Any]]:
    scratch.write_bytes(tree.read(name))
    try:
        if name.lower().endswith(".npz"):
            open_zip(scratch).close()  # its limits
        loaded = np.load(scratch, allow_pickle=False)
        return {"images": loaded} if isinstance(loaded, np.ndarray) else {key: loaded[key] for key in loaded.files}
    except DataError as error:
        raise DataError(str(error).replace(str(scratch), shown(name))) from None
    except Exception as error:  # numpy raises many types for damaged headers
        raise DataError(f"{tree.where}: {shown(name)} cannot be read ({shown(error, 120)}); save it anew") from None


def _labels_of(arrays: dict[str, NDArray[Any]], count: int, split: str | None) -> list[object] | None:
    for key, value in arrays.items():
        flat = value.reshape(-1) if value.ndim <= 2 and value.size == count else None
        if flat is not None and flat.dtype.kind in "iuSU" and _split_of(key) == split:
            return [one.decode() if isinstance(one, bytes) else one for one in flat.tolist()]
    return None


def _channels_last(value: NDArray[Any], where: str, style: PictureStyle) -> NDArray[np.uint8]:
    """Return arrays of pictures as uint8 (N, H, W, C) with C = 1 or 3.

    Raises:
        DataError: if the values are no bytes, or no axis can be the channels.
    """
    if value.dtype != np.uint8:
        if style.values is None or value.dtype.kind not in "iuf":
            raise DataError(
                f"{where} holds {value.dtype} from {value.min():.6g} to {value.max():.6g}, not 0 to 255; say what is "
                "black and what is white by `--values LOW:HIGH` (data.values)"
            )
        value = scaled(value, style.values)
    pictures = value[..., None] if value.ndim == 3 else value
    if pictures.shape[-1] not in (1, 3) and pictures.shape[1] in (1, 3):
        pictures = pictures.transpose(0, 2, 3, 1)
    if pictures.shape[-1] not in (1, 3):
        raise DataError(
            f"{where} is of shape {value.shape}; pictures are (N, H, W), (N, H, W, 1 or 3) or (N, 1 or 3, H, W)"
        )
    return np.ascontiguousarray(pictures)


def _parquet_members(tree: FileTree, name: str, scratch: Path, _style: PictureStyle) -> Iterator[Member]:
    """Yield the pictures of a Parquet file as Hugging Face writes it: `{bytes, path}` or bytes, and a label."""
    import pyarrow as pa
    from pyarrow import parquet

    scratch.write_bytes(tree.read(name))
    where = f"{tree.where}: {shown(name)}"
    try:
        with parquet.ParquetFile(scratch) as file:
            picture, label, names = _columns(file.schema_arrow, where)
            number = 0
            for batch in file.iter_batches(256, columns=[picture] + ([label] if label else [])):
                for row in batch.to_pylist():
                    yield _record(
                        row, picture, label, names, _split_of(name), f"{PurePosixPath(name).stem}_{number:07d}"
                    )
                    number += 1
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"{where} cannot be read ({shown(error, 120)}); write it anew") from None


def _columns(schema: Any, where: str) -> tuple[str, str | None, list[str] | None]:
    """Find the columns of pictures and labels, and the names of the classes in Hugging Face's metadata."""
    import pyarrow as pa

    def holds_pictures(kind: Any) -> bool:
        return bool(pa.types.is_binary(kind) or (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0))

    picture = next((field.name for field in schema if holds_pictures(field.type)), None)
    if picture is None:
        raise DataError(f"{where} has no column of pictures (bytes); it has {', '.join(schema.names)}")
    label = next((field.name for field in schema if field.name in ("label", "labels", "class", "category")), None)
    known = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return picture, label, known.get(label, {}).get("names") if label else None


def _record(
    row: dict[str, Any], picture: str, label: str | None, names: list[str] | None, split: str | None, stem: str
) -> Member:
    found = row[picture]
    content = found["bytes"] if isinstance(found, dict) else found
    suffix = PurePosixPath(str((found.get("path") if isinstance(found, dict) else "") or "")).suffix.lower()
    value = row[label] if label else None
    if names is not None and isinstance(value, int):
        value = names[value]
    return _place(split, value, stem + (suffix if is_image_name(f"x{suffix}") else ".png")), bytes(content)


def _shard_members(tree: FileTree, name: str, scratch: Path, _style: PictureStyle) -> Iterator[Member]:
    """Yield the pictures of a tar shard; `<key>.cls`, `.txt` of one line or `.json` with a label names the class."""
    scratch.write_bytes(tree.read(name))
    unpacked = scratch.parent / "shard"
    unpacked.mkdir(exist_ok=True)
    try:
        with open_tree(scratch, unpacked) as shard:
            inside = set(shard.names)
            for picture in filter(is_image_name, shard.names):
                key = picture.partition(".")[0] if "/" not in picture else picture.rpartition(".")[0]
                flat = f"{PurePosixPath(name).stem}_{picture.replace('/', '_')}"
                yield _place(_split_of(name), _class_beside(shard, key, inside), flat), shard.read(picture)
    finally:
        unpacked.rmdir()


def _class_beside(shard: FileTree, key: str, inside: set[str]) -> str | None:
    if f"{key}.cls" in inside:
        return shard.read(f"{key}.cls").decode("utf-8", "replace").strip()[:80]
    if f"{key}.json" in inside:
        try:
            label = json.loads(shard.read(f"{key}.json")).get("label")
        except (ValueError, AttributeError, RecursionError):
            return None
        return None if label is None else str(label)
    return None


READERS: dict[str, Callable[[FileTree, str, Path, PictureStyle], Iterator[Member]]] = {
    ".npz": _array_members,
    ".npy": _array_members,
    ".parquet": _parquet_members,
    ".tar": _shard_members,
}
