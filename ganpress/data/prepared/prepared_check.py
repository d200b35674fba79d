"""Checks that prepared arrays match the section `prepare`, so that a stage refuses stale ones instead of using them.

DVC only compares digests of inputs: `dvc repro -s judge` after an edit of `prepare` would train on images of the
previous size without an error.
"""

from pathlib import Path

from ganpress.config.data_section import PrepareConfig
from ganpress.data.prepared.arrays import SPLITS, PreparedMeta, open_split, read_meta
from ganpress.errors import DataError


def check_prepared(folder: Path, config: PrepareConfig) -> None:
    """Compare the prepared arrays in `folder` with `config`; do nothing if there are none.

    Raises:
        DataError: if size, channels or counts differ; the message names each.
    """
    if not (folder / "meta.json").exists():
        return
    meta = read_meta(folder)
    wrong = [
        f"{name} {found} instead of {wanted}"
        for name, found, wanted in (*_asked(meta, config), *_found(meta, folder))
        if found != wanted
    ]
    if wrong:
        raise DataError(
            f"artifacts/prepare was made with {', '.join(wrong)}: it is older than params.yaml or was changed; "
            "run `dvc repro prepare` or `ganpress run`"
        )


def _asked(meta: PreparedMeta, config: PrepareConfig) -> list[tuple[str, int, int]]:
    """Yield (name, prepared value, value in params.yaml) of each parameter that is visible in the arrays."""
    asked = [
        ("image_size", meta.size, config.image_size),
        ("width", meta.width, config.target_width),
        ("channels", meta.channels, config.channels),
    ]
    if config.max_train_images is not None:
        train = meta.counts.get("train", 0)
        asked.append(("max_train_images", train, min(train, config.max_train_images)))
    if meta.conditioning is not None:
        height, width = config.source_shape
        asked += [("source_size", meta.conditioning.height, height), ("source width", meta.conditioning.width, width)]
        if meta.conditioning.pairing != "semantic":
            channels = config.source_channels or config.channels
            asked.append(("source_channels", meta.conditioning.channels, channels))
    return asked


def _found(meta: PreparedMeta, folder: Path) -> list[tuple[str, int | tuple[int, ...], int | tuple[int, ...]]]:
    """Yield (name, value in the arrays, value in meta.json) of each existing split."""
    found: list[tuple[str, int | tuple[int, ...], int | tuple[int, ...]]] = []
    for split in SPLITS:
        if (folder / f"{split}.npy").exists():
            pixels = open_split(folder, split).pixels
            shape = (meta.channels, meta.size, meta.width)
            found.append((f"{split} images", len(pixels), meta.counts.get(split, 0)))
            found.append((f"{split} shape", tuple(map(int, pixels.shape[1:])), shape))
    return found
