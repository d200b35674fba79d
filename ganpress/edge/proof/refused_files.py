"""Keeps a refused edge file under another name, with a picture that shows why it was refused."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ganpress.edge.proof.verification import Worst
from ganpress.files.refused_names import is_refused, refused_path

SMALLEST_SIDE = 128
"""Smallest side of an image in the picture, in pixels; smaller images are enlarged by a whole factor."""
GAP = 4
"""Number of white columns between the images."""


def keep_refused(files: tuple[Path, ...], worst: Worst | None) -> Path:
    """Rename the files of a refused export, and save its worst image beside them.

    Args:
        files: the export's files, the file that is opened first.
        worst: the image to save; None saves nothing.

    Returns:
        The new name of the file that is opened; files of an earlier refusal are replaced.
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
    """Remove the files of earlier refusals of the export `path`."""
    stem = path.name.partition(".")[0]
    for one in [one for one in path.parent.glob(f"{stem}.*") if is_refused(one)]:
        one.unlink()


def _save_side_by_side(path: Path, wanted: Tensor, found: Tensor) -> None:
    """Save torch's image, the file's, and their difference scaled to white; each is (C, H, W) in [-1, 1]."""
    from PIL import Image

    difference = (found - wanted).abs().nan_to_num(nan=1.0, posinf=1.0)
    largest = float(difference.max()) or 1.0
    panels = [_panel(wanted), _panel(found), _panel(2 * difference / largest - 1)]
    height = panels[0].shape[0]
    white = np.full((height, GAP, 3), 255, np.uint8)
    Image.fromarray(np.concatenate([panels[0], white, panels[1], white, panels[2]], axis=1)).save(path, "PNG")


def _panel(image: Tensor) -> NDArray[np.uint8]:
    """(C, H, W) in [-1, 1] -> (H', W', 3); the mean of the channels unless there are one or three."""
    image = image if len(image) in (1, 3) else image.mean(0, keepdim=True)
    values = image.nan_to_num(nan=0.0, posinf=1.0, neginf=-1.0).clamp(-1, 1).expand(3, -1, -1)
    pixels: NDArray[np.uint8] = ((values + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    factor = -(-SMALLEST_SIDE // min(pixels.shape[:2])) if min(pixels.shape[:2]) < SMALLEST_SIDE else 1
    return pixels.repeat(factor, 0).repeat(factor, 1)
