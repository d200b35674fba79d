"""A common interface to a folder, zip or tar archive: names, and the bytes of each."""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from ganpress.data.raw.image_files import check_entry, open_zip, read_member, read_picture_file
from ganpress.data.raw.limits import LARGEST_DICTIONARY_BYTES, MOST_ENTRIES, largest_unpacked
from ganpress.errors import DataError, shown

XZ_MAGIC = b"\xfd7zXZ"
PART_BYTES = 2**20


@dataclass(frozen=True)
class FileTree:
    """Files below one root."""

    where: str
    """Name in error messages."""
    names: list[str]
    """POSIX paths relative to the root, sorted; without hidden files and metadata files of macOS."""
    read: Callable[[str], bytes]
    """Function that returns the content of one file."""

    def below(self, top: str) -> "FileTree":
        """Return only the files below folder `top`, with names relative to it."""
        prefix = top.rstrip("/") + "/"
        names = [name.removeprefix(prefix) for name in self.names if name.startswith(prefix)]
        return FileTree(f"{self.where}/{top}", names, lambda name: self.read(prefix + name))

    def spelt(self, words: Mapping[str, str]) -> "FileTree":
        """Return the tree with folders renamed by `words`, whose keys are names in lower case."""
        stored = {}
        for name in self.names:
            *folders, leaf = name.split("/")
            stored["/".join([*(words.get(folder.lower(), folder) for folder in folders), leaf])] = name
        return FileTree(self.where, sorted(stored), lambda name: self.read(stored[name]))

    def rooted_above(self, folders: tuple[str, ...]) -> "FileTree":
        """Return the tree relative to the shallowest folder that has one of `folders`, because archives often have one
        enclosing folder.

        If there is none, the tree is returned unchanged.
        """
        tops = [_above(PurePosixPath(name).parts[:-1], folders) for name in self.names]
        found = sorted({top for top in tops if top is not None}, key=lambda top: (top.count("/"), top))
        return self if not found or not found[0] else self.below(found[0])

    def has(self, folder: str) -> bool:
        """Return whether any file is below `folder`."""
        return any(name.startswith(f"{folder}/") for name in self.names)


def _above(parents: tuple[str, ...], folders: tuple[str, ...]) -> str | None:
    depth = next((index for index, part in enumerate(parents) if part in folders), None)
    return None if depth is None else "/".join(parents[:depth])


@contextmanager
def open_tree(path: Path, scratch: Path) -> Iterator[FileTree]:
    """Open a folder, a zip, or a tar archive (plain, gz, xz, bz2), which is decompressed below `scratch` for the time
    of the block.

    Raises:
        DataError: if `path` does not exist, or an archive is truncated, damaged or of another kind.
    """
    if path.is_dir():
        files = (one.relative_to(path).as_posix() for one in path.rglob("*") if one.is_file())
        yield FileTree(str(path), _plain(files), lambda name: read_picture_file(path / name))
    elif path.suffix.lower() == ".zip":
        with open_zip(path) as archive:
            names = _plain(one.filename for one in archive.infolist() if not one.is_dir())
            yield FileTree(str(path), names, lambda name: read_member(archive, name))
    elif path.is_file():
        with _open_tar(path, scratch) as tree:
            yield tree
    else:
        raise DataError(f"{path} does not exist; name a folder, a zip or a tar archive of images")


def _plain(names: Iterator[str]) -> list[str]:
    def hidden(name: str) -> bool:
        return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)

    return sorted(name for name in names if not hidden(name))


@contextmanager
def _open_tar(path: Path, scratch: Path) -> Iterator[FileTree]:
    """Open a tar archive through one uncompressed temporary file, because a compressed one can only be read in its own
    order.
    """
    plain = scratch / "archive.tar"
    try:
        unpack_stream(path, plain)
        with _opened_tar(plain, path) as tar:
            members = _members(tar, path)

            def read(name: str) -> bytes:
                try:
                    content = tar.extractfile(members[name])
                    assert content is not None  # only files are listed
                    return content.read()
                except (OSError, EOFError, ValueError, tarfile.TarError):
                    raise DataError(
                        f"{shown(name)} cannot be read from {path}: it is truncated; download it again"
                    ) from None

            yield FileTree(str(path), _plain(iter(members)), read)
    finally:
        plain.unlink(missing_ok=True)


@contextmanager
def _opened_tar(plain: Path, path: Path) -> Iterator[tarfile.TarFile]:
    try:
        tar = tarfile.open(plain, "r:")  # noqa: SIM115 (closed below)
    except (tarfile.TarError, OSError, EOFError, ValueError, RecursionError):
        raise _damaged(path) from None
    with tar:
        yield tar


def _members(tar: tarfile.TarFile, path: Path) -> dict[str, tarfile.TarInfo]:
    """Return the files of a tar archive by name; links, devices and folders are left out."""
    members: dict[str, tarfile.TarInfo] = {}
    last = -1
    try:
        for count, one in enumerate(tar, 1):
            if one.offset <= last:
                raise _damaged(path)  # A header that points backwards would be read for ever.
            last = one.offset
            if count > MOST_ENTRIES:
                raise DataError(f"{path} has more than the {MOST_ENTRIES:,} files that are allowed; split it")
            check_entry(one.name, one.size, str(path))
            if one.isfile():
                members[str(PurePosixPath(one.name))] = one
    except (tarfile.TarError, OSError, EOFError, ValueError, RecursionError, OverflowError):
        raise _damaged(path) from None
    return members


def _damaged(path: Path) -> DataError:
    return DataError(f"{path} is truncated, damaged, or not a tar archive (plain, gz, xz, bz2); download it again")


def unpack_stream(archive: Path, plain: Path) -> None:
    """Decompress a .gz, .xz or .bz2 file, or copy one that is none of them.

    Raises:
        DataError: if it is truncated or damaged, or unpacks to more than `largest_unpacked` allows.
    """
    left = largest = largest_unpacked(archive.stat().st_size)
    try:
        with plain.open("wb") as file:
            for part in _parts(archive):
                left -= len(part)
                if left < 0:
                    limit = f"the {largest:,} bytes that are allowed for its size"
                    raise DataError(f"{archive} unpacks to more than {limit}; unpack it by hand")
                file.write(part)
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, ValueError):
        raise _damaged(archive) from None
    except OSError as error:
        if error.errno is not None:
            raise  # An error of the disk is reported elsewhere.
        raise _damaged(archive) from None


def _parts(archive: Path) -> Iterator[bytes]:
    with archive.open("rb") as file:
        start = file.read(6)
        file.seek(0)
        if start.startswith(XZ_MAGIC):
            yield from _xz_parts(file)
            return
        openers: dict[bytes, Callable[[IO[bytes]], IO[bytes]]] = {b"\x1f\x8b": _gzip, b"BZh": _bz2}
        opener = next((one for magic, one in openers.items() if start.startswith(magic)), None)
        origin = file if opener is None else opener(file)
        while part := origin.read(PART_BYTES):
            yield part


def _gzip(file: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], gzip.GzipFile(fileobj=file))


def _bz2(file: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], bz2.BZ2File(file))


def _xz_parts(file: IO[bytes]) -> Iterator[bytes]:
    """Decompress .xz streams one after the other; `lzma.open` cannot limit the memory that a header asks for."""
    content = file.read(PART_BYTES)
    while content:
        coder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=LARGEST_DICTIONARY_BYTES)
        while not coder.eof:
            if part := coder.decompress(content, PART_BYTES):
                yield part
            content = b""
            if coder.needs_input and not coder.eof and not (content := file.read(PART_BYTES)):
                raise EOFError
        content = (coder.unused_data or file.read(PART_BYTES)).lstrip(b"\0") or file.read(PART_BYTES)
