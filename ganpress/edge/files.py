"""Writing the files of a generator whole or not at all."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_or_nothing(path: Path, *suffixes: str) -> Iterator[Path]:
    """Give a place to write at, and move what was written there to `path` when all went well.

    Args:
        path: the file; its folder is made.
        suffixes: of further files beside it, e.g. `.bin`.

    Yields:
        A path of the same name in a new folder of the same file system.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        place = Path(folder) / path.name
        yield place
        for suffix in (*suffixes, path.suffix):  # the one that is opened comes last
            place.with_suffix(suffix).replace(path.with_suffix(suffix))
