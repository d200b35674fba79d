"""What is kept of an edge file that was refused: the file itself, and a picture that shows why."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ganpress.edge.proof.verification import Worst
from ganpress.files.refused_names import is_refused, refused_path

SMALLEST_SIDE = 128
"""Pixels of an image in the picture; smaller ones are enlarged by a whole number."""
GAP = 4
"""White columns between the images."""


def keep_refused(files: tuple[Path, ...], worst: Worst | None) -> Path:
    """Rename the files of a refused export, and draw its worst image beside them.

    Args:
        files: those of the export, the one that is opened first.
        worst: what to draw; None draws nothing.

    Returns:
        The file that can be opened, under its new name; what an earlier refusal left there is gone.
    """
    remove_refused(files[0])
    for path in reversed(files):
        path.rename(refused_path(path))
    kept = refused_path(files[0])
    if worst is not None and worst.wanted.dim() == 4:
        picture = kept.with_name(f"{kept.name.partition('.')[0]}.refused.png")
        _save_side_by_side(picture, worst.wanted[0], worst.found[0])
    return kept


def remove_refused(path: Path) -> None:
    """Remove what earlier refusals of the export `path` left beside it."""
    stem = path.name.partition(".")[0]
    for one in [one for one in path.parent.glob(f"{stem}.*") if is_refused(one)]:
        one.unlink()


def _save_side_by_side(path: Path, wanted: Tensor, found: Tensor) -> None:
    """Torch's image, the file's, and their difference, whose largest value is white; (C, H, W) each, in [-1, 1]."""
    from PIL import Image

    difference = (found - wanted).abs().nan_to_num(nan=1.0, posinf=1.0)
    largest = float(difference.max()) or 1.0
    panels = [_panel(wanted), _panel(found), _panel(2 * difference / largest - 1)]
    height = panels[0].shape[0]
    white = np.full((height, GAP, 3), 255, np.uint8)
    Image.fromarray(np.concatenate([panels[0], white, panels[1], white, panels[2]], axis=1)).save(path, "PNG")


def _panel(image: Tensor) -> NDArray[np.uint8]:
    """(C, H, W) in [-1, 1] -> (H', W', 3); of other than one or three channels their mean."""
    image = image if len(image) in (1, 3) else image.mean(0, keepdim=True)
    values = image.nan_to_num(nan=0.0, posinf=1.0, neginf=-1.0).clamp(-1, 1).expand(3, -1, -1)
    pixels: NDArray[np.uint8] = ((values + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    factor = -(-SMALLEST_SIDE // min(pixels.shape[:2])) if min(pixels.shape[:2]) < SMALLEST_SIDE else 1
    return pixels.repeat(factor, 0).repeat(factor, 1)
