"""`ganpress apply`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ganpress.applied.exported_on_pictures import Applied


def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An exported file, or the folder that holds it.")],
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE…", help="Pictures, or folders of pictures.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder that PNG files are written to.")],
    overlap: Annotated[
        int | None,
        typer.Option(min=0, metavar="PIXELS", help="Number of pixels that neighbouring tiles share at least."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Number of CPU cores to use; default: all.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace files that already exist.")] = False,
) -> None:
    """Run an exported generator on pictures of any size."""
    from ganpress.applied.exported_on_pictures import ExportedGenerator, apply_to_pictures

    generator = ExportedGenerator(file, threads)
    for applied in apply_to_pictures(generator, pictures, out, overlap, overwrite):
        typer.echo(_line(applied))


def _line(applied: "Applied") -> str:
    plan, (height, width) = applied.plan, applied.size
    tiles = "1 tile" if plan.tiles == 1 else f"{plan.tiles} tiles"
    if plan.exact:
        how = "with the same result as one pass over the whole picture"
    elif applied.seam_db is None:
        how = "its lower and right borders mirrored to fill a tile"
    else:
        how = f"blended: a tile differs from its neighbours by {applied.seam_db:.1f} dB where they overlap"
    return f"{applied.file}: {width}x{height} pixels, {tiles}, {how}"
