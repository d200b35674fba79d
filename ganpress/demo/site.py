"""Writes the demo page as a folder of static files that any web server can serve, without a build step or external
files.
"""

import json
import shutil
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from ganpress.basics.whole_files import whole_folder
from ganpress.demo.directions import principal_directions
from ganpress.demo.generators import EdgeGenerator, Surface, common_surface
from ganpress.demo.page_manifest import MANIFEST, Manifest, Samples, boundary, digests, generator_entry, label_entries
from ganpress.demo.page_runtime import PACKAGE, VERSION, BrowserRuntime
from ganpress.demo.samples import sample_sources
from ganpress.edge.onnx_runtime import OnnxGenerator
from ganpress.errors import ConfigError
from ganpress.files.onnx_files import read_onnx

DIRECTIONS = 8
"""Sliders of a latent generator."""
ROLES = ("original", "compressed")


@dataclass(frozen=True)
class DemoSite:
    """A written site."""

    folder: Path
    size_bytes: int
    """Size of all files, uncompressed."""


def build_site(
    original: EdgeGenerator,
    compressed: EdgeGenerator,
    runtime: BrowserRuntime,
    prepared: Path,
    out: Path,
    ship: str = "",
) -> DemoSite:
    """Write the page for two generators, completely or not at all; the same inputs give the same bytes.

    Args:
        original: the generator that is compared with.
        compressed: its compressed form.
        runtime: onnxruntime-web.
        prepared: folder of the prepare stage that samples of sources are taken from; it may be missing.
        out: folder to write; it is missing, empty, or holds a former demo, which is replaced.
        ship: which edge file to ship and why, in a sentence.

    Raises:
        ConfigError: if the generators do not fit each other or the page, or `out` holds anything else.
        DataError: if prepared data is damaged, or the original's images do not depend on its latents.
    """
    surface = common_surface(original, compressed)
    _require_replaceable(out)
    with whole_folder(out) as folder:
        with resources.as_file(resources.files("ganpress.demo") / "page") as page:
            shutil.copytree(page, folder, dirs_exist_ok=True)
        entries = []
        for role, generator in zip(ROLES, (original, compressed), strict=True):
            (folder / f"{role}.onnx").write_bytes(read_onnx(generator.path))
            entries.append(generator_entry(role, generator, f"{role}.onnx"))
        (folder / "runtime").mkdir()
        for path in runtime.files(webgpu=any("webgpu" in one.providers for one in entries)):
            shutil.copyfile(path, folder / "runtime" / path.name)
        samples = _write_samples(surface, original, prepared, folder)
        Manifest(
            title=f"{compressed.reference} beside {original.reference}",
            ship=ship,
            runtime=f"{PACKAGE} {VERSION}",
            kind=surface.kind,
            input=boundary(surface.input_name, surface.input_shape, surface.input_range),
            output=boundary(surface.output_name, surface.output_shape, surface.output_range),
            generators=(entries[0], entries[1]),
            labels=label_entries(surface),
            samples=samples,
            digests=digests(folder),
        ).save(folder)
    return DemoSite(out, sum(path.stat().st_size for path in out.rglob("*") if path.is_file()))


def _write_samples(surface: Surface, original: EdgeGenerator, prepared: Path, folder: Path) -> Samples:
    if surface.kind == "latents":
        (latent,) = surface.input_shape
        directions = principal_directions(OnnxGenerator(original.path), latent, min(DIRECTIONS, latent))
        (folder / "directions.f32").write_bytes(directions.numpy().astype("<f4").tobytes())
        return Samples("directions.f32", len(directions), "directions of the largest change, found on the original")
    pixels, origin = sample_sources(surface, prepared)
    (folder / "samples.u8").write_bytes(np.ascontiguousarray(pixels).tobytes())
    return Samples("samples.u8", len(pixels), origin)


def _require_replaceable(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()) and not _is_demo(out):
        raise ConfigError(f"--out {out} has other files, which would be lost; give a new or empty folder")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file; give a folder")


def _is_demo(folder: Path) -> bool:
    try:
        return "ganpress_demo" in json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False
