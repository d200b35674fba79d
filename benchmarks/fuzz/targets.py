"""Fuzz targets: every reader of files from others, with real files to start from."""

import gzip
import hashlib
import io
import json
import random
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import zstandard
from PIL import Image

from benchmarks.fuzz.mutation import json_bytes, mutate_bytes, mutate_value, repacked_zip, torch_bytes
from ganpress.compression.packed.ganpack2 import MAGIC
from ganpress.compression.packed.packing import load_packed, packed
from ganpress.data.gate.verdict import require_passed_gate
from ganpress.data.prepared.arrays import PreparedMeta, open_split, read_meta
from ganpress.data.raw.dataset_card import DatasetCard, read_card
from ganpress.data.raw.idx import write_idx
from ganpress.data.raw.image_files import decode
from ganpress.data.raw.raw_images import open_raw
from ganpress.data.sources.pair_sources import write_pairs
from ganpress.data.sources.semantic_sources import decode_label_map
from ganpress.edge.graphs.onnx_export import graph_content
from ganpress.errors import DataError
from ganpress.files.array_files import read_arrays
from ganpress.files.checkpoint import load_model, read_model_file, save_model
from ganpress.files.frames import decode_frames, frame_of, read_content
from ganpress.imported import import_card as imports
from ganpress.imported.program_files import read_program
from ganpress.imported.weight_keys import read_state
from ganpress.metrics.judges.feature_networks import load_judge
from ganpress.registries import TARGETS
from ganpress.search.latency_table import LatencyTable
from ganpress.search.score_book import ScoreBook
from ganpress.training.loop import Checkpointing, RandomStream, Training
from models.builders import Blueprint, elastic_blueprint
from models.family import Canvas

ROOT = Path(__file__).resolve().parents[2]
BESIDE: dict[tuple[str, str], bytes] = {}
"""What lies beside the file that is changed, by target and suffix."""
Mutate = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Target:
    """One reader."""

    name: str
    """Of the file that it reads, below a fresh folder."""
    seeds: Callable[[Path], list[bytes]]
    read: Callable[[Path], object]
    mutate: Mutate = mutate_bytes


WDCGAN = Blueprint("wdcgan_generator", {"spec": "2", "size": 16, "channels": 1})
BLUEPRINTS = (
    WDCGAN,
    Blueprint("classifier", {"channels": 1, "classes": 3, "width": 4, "features": 8}),
    Blueprint("unet_generator", {"spec": "ngf=2", "in_channels": 1, "out_channels": 1, "downs": 3}),
    elastic_blueprint("wdcgan", Canvas(1, 16, 16), ((1, 2),)),
)


def _models(folder: Path) -> list[bytes]:
    for number, blueprint in enumerate(BLUEPRINTS):
        save_model(folder / f"{number}.safetensors", blueprint.build(), blueprint)
    paths = [folder / f"{number}.safetensors" for number in range(len(BLUEPRINTS))]
    return [path.read_bytes() for path in paths] + [torch_bytes(read_model_file(path)) for path in paths]


def _judges(folder: Path) -> list[bytes]:
    return _models(folder)[1 :: len(BLUEPRINTS)]


def _safetensors_values(content: bytes, draw: random.Random) -> bytes:
    """Another header, or other bytes behind it."""
    if draw.random() < 0.3:
        return mutate_bytes(content, draw)
    end = 8 + int.from_bytes(content[:8], "little")
    described = json.loads(content[8:end])
    if draw.random() < 0.5:
        described = mutate_value(described, draw)
    else:
        facts = mutate_value(json.loads(described["__metadata__"]["ganpress"]), draw)
        described["__metadata__"]["ganpress"] = json_bytes(facts).decode()
    header = json_bytes(described)
    return len(header).to_bytes(8, "little") + header + content[end:]


def _torch_values(content: bytes, draw: random.Random) -> bytes:
    if content[8:9] == b"{":
        return _safetensors_values(content, draw)
    if draw.random() < 0.3:
        return mutate_bytes(content, draw)
    if draw.random() < 0.3:
        return repacked_zip(content, draw) if content.startswith(b"PK") else mutate_bytes(content, draw)
    value = torch.load(io.BytesIO(content), weights_only=True)
    for _ in range(draw.choice((1, 1, 2, 3))):
        value = mutate_value(value, draw)
    return torch_bytes(value, legacy=draw.random() < 0.2)


def _packed(_: Path) -> list[bytes]:
    former = (ROOT / "tests" / "compression" / "former.ganpack").read_bytes()
    return [*(packed(one.build().eval(), one) for one in BLUEPRINTS), former]


def _packed_values(content: bytes, draw: random.Random) -> bytes:
    """Another header or other tensors under a digest or in frames that fit."""
    if not content.startswith(MAGIC):
        changed = _safetensors_values(decode_frames(content, 2**30), draw)
        return mutate_bytes(content, draw) if draw.random() < 0.2 else frame_of(changed)
    start = len(MAGIC) + 4
    end = start + int.from_bytes(content[len(MAGIC) : start], "little")
    header, rest = zstandard.ZstdDecompressor().decompress(content[start:end]), content[end:-32]
    if draw.random() < 0.8:
        header = json_bytes(mutate_value(json.loads(header), draw))
    else:
        rest = mutate_bytes(rest, draw)
    coded = zstandard.ZstdCompressor().compress(header)
    whole = b"".join((MAGIC, len(coded).to_bytes(4, "little"), coded, rest))
    return whole + hashlib.sha256(whole).digest()


def _json_values(content: bytes, draw: random.Random) -> bytes:
    if draw.random() < 0.3:
        return mutate_bytes(content, draw)
    return json_bytes(mutate_value(json.loads(content), draw))


def _onnx(_: Path) -> list[bytes]:
    return [graph_content(WDCGAN.build().eval(), torch.zeros(2, 100))]


def _onnx_frames(folder: Path) -> list[bytes]:
    return [frame_of(one) for one in _onnx(folder)] + [
        zstandard.ZstdCompressor(write_checksum=True).compress(bytes(10**8))
    ]


def _exported(name: str) -> Callable[[Path], list[bytes]]:
    def seeds(folder: Path) -> list[bytes]:
        path = folder / f"generator{TARGETS[name].suffix}"
        TARGETS[name].write(WDCGAN.build().eval(), path, torch.zeros(2, 100))
        for suffix in TARGETS[name].beside:
            BESIDE[name, suffix] = path.with_suffix(suffix).read_bytes()
        return [path.read_bytes()]

    return seeds


def _open_edge(name: str) -> Callable[[Path], object]:
    def read(path: Path) -> object:
        for suffix in TARGETS[name].beside:
            path.with_suffix(suffix).write_bytes(BESIDE[name, suffix])
        return TARGETS[name].open(path)(torch.zeros(1, 100))

    return read


def _pictures(_: Path) -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    rgb, made = Image.fromarray(pixels), []
    pictures = [(rgb, one) for one in ("png", "jpeg", "gif", "tiff", "webp", "bmp", "ppm")]
    pictures += [(rgb.convert("P"), "png"), (rgb.convert("CMYK"), "jpeg"), (rgb.convert("LA"), "png")]
    pictures += [(Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257), one) for one in ("png", "tiff")]
    for image, kind in pictures:
        for more in ({}, {"save_all": True, "append_images": [image] * 20} if kind in ("gif", "tiff", "webp") else {}):
            content = io.BytesIO()
            image.save(content, kind, **more)
            made.append(content.getvalue())
    return made


def _decode(path: Path) -> None:
    content = path.read_bytes()
    for read in (decode, decode_label_map):
        try:
            read(content, path.name)
        except DataError:
            if read is decode_label_map:
                raise


def _zip(_: Path) -> list[bytes]:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, picture in enumerate(_pictures(Path())[:4]):
            archive.writestr(f"train/a/{number}.png", picture)
    return [content.getvalue()]


def _zip_values(content: bytes, draw: random.Random) -> bytes:
    return mutate_bytes(content, draw) if draw.random() < 0.6 else repacked_zip(content, draw)


def _raw(path: Path) -> None:
    for image in open_raw(path.parent):
        image.decode()


def _tar(_: Path) -> list[bytes]:
    made = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w", format=form) as archive:
            for name in ("source/1.png", "target/1.png", "é" * 40 + ".png"):
                entry = tarfile.TarInfo(name)
                entry.size = len(_pictures(Path())[0])
                archive.addfile(entry, io.BytesIO(_pictures(Path())[0]))
        made.append(content.getvalue())
    return [*made, gzip.compress(made[0])]


def _pairs(path: Path) -> None:
    (path.parent / "target").mkdir()
    write_pairs(path, path.parent / "target", path.parent)


def _idx(folder: Path) -> list[bytes]:
    write_idx(folder / "x", np.zeros((5, 4, 4), np.uint8))
    return [(folder / "x").read_bytes()]


def _array(_: Path) -> list[bytes]:
    content = io.BytesIO()
    np.save(content, np.zeros((5, 1, 4, 4), np.uint8))
    return [content.getvalue()]


def _prepared(path: Path) -> None:
    np.save(path.with_name("train_labels.npy"), np.zeros(5, np.int64))
    split = open_split(path.parent, "train")
    split.batch(torch.arange(len(split)))


def _arrays(_: Path) -> list[bytes]:
    content = io.BytesIO()
    np.savez_compressed(content, a=np.zeros((5, 4)), b=np.array(["x", "y"]))
    return [content.getvalue()]


def _read_plainly(path: Path) -> None:
    try:
        read_arrays(path)
    except ValueError as error:
        raise DataError(str(error)) from None


def _checkpoint(_: Path) -> list[bytes]:
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    stream = RandomStream(torch.Generator())
    parts = {"layer": layer.state_dict(), "optimizer": optimizer.state_dict(), "random": stream.state_dict()}
    return [torch_bytes({"identity": "x", "images_shown": 4, "curve": [[4, {"loss": 0.5}]], "state": parts})]


def _resume(path: Path) -> None:
    layer = torch.nn.Linear(2, 2)
    state = {
        "layer": layer,
        "optimizer": torch.optim.Adam(layer.parameters()),
        "random": RandomStream(torch.Generator()),
    }
    Training("fuzz", lambda _: {}, state, 0, 4, Checkpointing(path, "x")).run()


def _import_card(_: Path) -> list[bytes]:
    cost = {"parameters": 1, "macs_exact": 1, "macs_torchprofile": 1, "size_bytes": 4}
    known = imports.ImportCard.__dataclass_fields__
    facts = {"name": "n", "source": "m:f", "source_sha256": "0", "weights": None, "weights_sha256": None, "keys": None}
    shapes = {"input_shape": [1, 3, 8, 8], "output_shape": [1, 3, 8, 8], "input_range": [-1, 1], "output_range": [0, 1]}
    groups = [{"name": "a", "units": 4, "layers": ["a"]}]
    card = {**facts, **shapes, "cost": cost, "groups": groups, "not_thinned": [], "modules": {"m": "0"}, "notes": ["n"]}
    assert set(card) == set(known)
    return [json_bytes(card)]


def _facts(content: dict[str, object]) -> Callable[[Path], list[bytes]]:
    return lambda _: [json_bytes(content)]


def _saved(card: DatasetCard | PreparedMeta, name: str) -> Callable[[Path], list[bytes]]:
    def seeds(folder: Path) -> list[bytes]:
        card.save(folder)
        return [(folder / name).read_bytes()]

    return seeds


def _table(path: Path) -> None:
    LatencyTable(lambda network, _: network, 1, path)
    ScoreBook(path)


DATASET = DatasetCard("digits", "idx", {"train": 5}, ["a", "b"], "here", "semantic", ["x"])
META = PreparedMeta("digits", 4, 1, ["a"], {"train": 5}, "box")


def _weights(_: Path) -> list[bytes]:
    return [torch_bytes(WDCGAN.build().state_dict(), legacy) for legacy in (True, False)]


def _idx_gz(folder: Path) -> list[bytes]:
    return [gzip.compress(one) for one in _idx(folder)]


def _read_program(path: Path) -> None:
    network, shape = read_program(path)
    assert shape is not None
    with torch.no_grad():
        network(torch.zeros(shape))


def _read_import_card(path: Path) -> object:
    return imports.read_card(path.parents[2], "n")


def _read_dataset(path: Path) -> object:
    return read_card(path.parent)


GATE = _facts({"success": True, "checks": [{"name": "a", "success": True}]})
LINES = _facts({"spec": "1_2", "score": 0.5, "layer": "x", "ms": 1.0})
TARGETS_BY_NAME: dict[str, Target] = {
    "model": Target("g.safetensors", _models, load_model, _torch_values),
    "weights": Target("w.pth", _weights, read_state, _torch_values),
    "judge": Target("judge.safetensors", _judges, load_judge, _torch_values),
    "checkpoint": Target("c.pt", _checkpoint, _resume, _torch_values),
    "packed": Target("g.ganpack", _packed, load_packed, _packed_values),
    "frame": Target("generator.onnx.zst", _onnx_frames, read_content),
    "program": Target("generator.onnx", _onnx, _read_program),
    "onnx": Target("generator.onnx", _onnx, _open_edge("onnx")),
    "openvino": Target("generator.xml", _exported("openvino"), _open_edge("openvino")),
    "executorch": Target("generator.pte", _exported("executorch"), _open_edge("executorch")),
    "executorch_vulkan": Target(
        "generator.vulkan.pte", _exported("executorch_vulkan"), _open_edge("executorch_vulkan")
    ),
    "executorch_coreml": Target(
        "generator.coreml.pte", _exported("executorch_coreml"), _open_edge("executorch_coreml")
    ),
    "mnn": Target("generator.mnn", _exported("mnn"), _open_edge("mnn")),
    "ncnn": Target("generator.param", _exported("ncnn"), _open_edge("ncnn")),
    "coreml": Target("generator.mlpackage.zip", _exported("coreml"), _open_edge("coreml")),
    "picture": Target("x.png", _pictures, _decode),
    "zip": Target("images.zip", _zip, _raw, _zip_values),
    "tar": Target("pairs.tar", _tar, _pairs),
    "idx": Target("train-images-idx3-ubyte", _idx, _raw),
    "idx-gz": Target("train-images-idx3-ubyte.gz", _idx_gz, _raw),
    "array": Target("train.npy", _array, _prepared),
    "arrays": Target("gallery.npz", _arrays, _read_plainly, _zip_values),
    "import-card": Target("imported/n/import.json", _import_card, _read_import_card, _json_values),
    "dataset": Target(
        "dataset.json", _saved(DATASET, "dataset.json"), lambda path: read_card(path.parent), _json_values
    ),
    "meta": Target("meta.json", _saved(META, "meta.json"), lambda path: read_meta(path.parent), _json_values),
    "gate": Target("validation.json", GATE, require_passed_gate, _json_values),
    "lines": Target("table.jsonl", LINES, _table, _json_values),
}
