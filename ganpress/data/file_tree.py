"""A user's folder, zip or tar archive as one thing: names, and the bytes behind each."""

import bz2
import gzip
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from ganpress.data.image_files import open_zip
from ganpress.errors import DataError


@dataclass(frozen=True)
class FileTree:
    """Files below one root."""

    where: str
    """How error messages call it."""
    names: list[str]
    """POSIX paths relative to the root, sorted; hidden files and macOS lint left out."""
    read: Callable[[str], bytes]
    """Returns the content of one name."""

    def below(self, top: str) -> "FileTree":
        """Return the files below folder `top` alone, named from there."""
        prefix = top.rstrip("/") + "/"
        names = [name.removeprefix(prefix) for name in self.names if name.startswith(prefix)]
        return FileTree(f"{self.where}/{top}", names, lambda name: self.read(prefix + name))

    def rooted_above(self, folders: tuple[str, ...]) -> "FileTree":
        """Return the tree seen from the shallowest folder that holds one of `folders`, as archives wrap theirs in one.

        Without any of them, the tree comes back as it is.
        """
        tops = [_above(PurePosixPath(name).parts[:-1], folders) for name in self.names]
        found = sorted({top for top in tops if top is not None}, key=lambda top: (top.count("/"), top))
        return self if not found or not found[0] else self.below(found[0])

    def has(self, folder: str) -> bool:
        """Whether any file lies below `folder`."""
        return any(name.startswith(f"{folder}/") for name in self.names)


def _above(parents: tuple[str, ...], folders: tuple[str, ...]) -> str | None:
    depth = next((index for index, part in enumerate(parents) if part in folders), None)
    return None if depth is None else "/".join(parents[:depth])


@contextmanager
def open_tree(path: Path, scratch: Path) -> Iterator[FileTree]:
    """Open a folder, a zip, or a tar archive (plain, gz, xz, bz2), which is decompressed below `scratch` meanwhile.

    Raises:
        DataError: if there is nothing at `path`, or an archive is cut off, damaged or of another kind.
    """
    if path.is_dir():
        files = (one.relative_to(path).as_posix() for one in path.rglob("*") if one.is_file())
        yield FileTree(str(path), _plain(files), lambda name: (path / name).read_bytes())
    elif path.suffix.lower() == ".zip":
        with open_zip(path) as archive:
            names = _plain(one.filename for one in archive.infolist() if not one.is_dir())
            yield FileTree(str(path), names, lambda name: _zip_member(archive, name))
    elif path.is_file():
        with _open_tar(path, scratch) as tree:
            yield tree
    else:
        raise DataError(f"{path} does not exist; name a folder, a zip or a tar archive of images")


def _plain(names: Iterator[str]) -> list[str]:
    def hidden(name: str) -> bool:
        return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)

    return sorted(name for name in names if not hidden(name))


def _zip_member(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{name} cannot be read from {archive.filename} ({error}); get the archive again") from None


@contextmanager
def _open_tar(path: Path, scratch: Path) -> Iterator[FileTree]:
    """Open a tar archive by way of one plain scratch file: a compressed one can only be read in its own order."""
    plain = scratch / "archive.tar"
    try:
        with _decompressed(path) as origin, plain.open("wb") as file:
            shutil.copyfileobj(origin, file, 2**20)
        with tarfile.open(plain, "r:") as tar:
            members = {str(PurePosixPath(one.name)): one for one in tar if one.isfile()}

            def read(name: str) -> bytes:
                content = tar.extractfile(members[name])
                assert content is not None  # only files are listed
                return content.read()

            yield FileTree(str(path), _plain(iter(members)), read)
    except (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is cut off or damaged ({error}); get it again") from None
    finally:
        plain.unlink(missing_ok=True)


def _decompressed(archive: Path) -> IO[bytes]:
    with archive.open("rb") as file:
        start = file.read(6)
    for magic, opener in ((b"\xfd7zXZ", lzma.open), (b"\x1f\x8b", gzip.open), (b"BZh", bz2.open)):
        if start.startswith(magic):
            return cast(IO[bytes], opener(archive))
    return archive.open("rb")
