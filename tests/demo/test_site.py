"""The written site, without a browser: which generators, which files, and what is refused."""

import hashlib
import json
import re
import shutil

import numpy as np
import pytest
import torch

from ganpress.data.prepared.arrays import Conditioning, PreparedMeta
from ganpress.demo.directions import principal_directions
from ganpress.demo.generators import Surface, choose_pair, common_surface, find_generator, surface
from ganpress.demo.page_manifest import label_entries, session_settings
from ganpress.demo.samples import drawn_sources, sample_sources
from ganpress.demo.site import build_site
from ganpress.errors import CheckpointError, ConfigError, DataError
from ganpress.report.pictures.label_pictures import label_legend


def copy_of(artifacts, tmp_path):
    return shutil.copytree(artifacts, tmp_path / "artifacts")


def edit_card(artifacts, item, **changes):
    card = artifacts / "export" / item / "card.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | changes))


def image_surface(kind="image", shape=(3, 20, 24), labels=()):
    return Surface(kind, "source", shape, "images", (3, 20, 24), (-1.0, 1.0), (-1.0, 1.0), labels)


def test_teacher_and_the_smallest_integer_file_are_chosen(latent_exports):
    original, compressed = choose_pair(latent_exports, None, None)
    assert (original.reference, compressed.reference) == ("export/teacher", "export/int8")


@pytest.mark.parametrize("reference", ["int8", "export/int8"])
def test_reference_with_and_without_its_stage(latent_exports, reference):
    assert find_generator(latent_exports, reference).card.number_type == "w8a8"


def test_path_of_a_file(latent_exports):
    path = latent_exports / "export" / "int8" / "generator.onnx"
    assert find_generator(latent_exports, str(path)).path == path


def test_unknown_reference_is_refused_with_those_there_are(latent_exports):
    expected = r"no exported generator 'export/d9'; there are: export/activations-int8, export/int8, .*export/teacher"
    with pytest.raises(ConfigError, match=expected):
        choose_pair(latent_exports, "d9", None)


def test_file_of_another_runtime_is_refused_with_those_that_fit(latent_exports, tmp_path):
    artifacts = copy_of(latent_exports, tmp_path)
    phone = artifacts / "export" / "phone" / "generator.pte"
    phone.parent.mkdir()
    phone.write_bytes(b"a program of ExecuTorch")
    for reference in ("phone", "export/phone", str(phone)):
        with pytest.raises(ConfigError) as refused:
            choose_pair(artifacts, None, reference)
        assert str(refused.value).startswith(f"{reference} is generator.pte, which browsers do not run; choose an ONNX")
        assert "export/int8, export/stored-int8, export/teacher; or add an item with target: onnx" in str(refused.value)
    assert choose_pair(artifacts, None, None)[1].reference == "export/int8"  # and it is not chosen by itself


def test_nothing_exported_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing to show: .*export has no ONNX file; `ganpress run` exports"):
        choose_pair(tmp_path, None, None)


def test_teacher_alone_has_nothing_to_be_compared_with(latent_exports, tmp_path):
    artifacts = copy_of(latent_exports, tmp_path)
    for item in ("int8", "stored-int8", "activations-int8"):
        shutil.rmtree(artifacts / "export" / item)
    with pytest.raises(ConfigError, match=r"nothing to compare export/teacher with: .*or give --compressed"):
        choose_pair(artifacts, None, None)


def test_tampered_file_is_refused(latent_exports, tmp_path):
    artifacts = copy_of(latent_exports, tmp_path)
    with (artifacts / "export" / "int8" / "generator.onnx").open("r+b") as file:
        file.seek(200)
        file.write(b"\x00\x01\x02")
    with pytest.raises(CheckpointError, match="was changed after the export"):
        choose_pair(artifacts, None, None)


def test_generators_of_other_data_are_refused(latent_exports, label_exports):
    pair = find_generator(latent_exports, "teacher"), find_generator(label_exports, "teacher")
    expected = r"export/teacher and export/teacher cannot be compared: their kind is latents and labels; choose two"
    with pytest.raises(ConfigError, match=expected):
        common_surface(*pair)


def test_labels_are_named_after_the_card(label_exports):
    found = surface(find_generator(label_exports, "teacher"))
    assert (found.kind, found.labels, found.input_shape) == ("labels", ("sky", "sea", "sun"), (3, 16, 16))


def test_labels_are_coloured_as_in_the_report(label_exports):
    entries = label_entries(surface(find_generator(label_exports, "teacher")))
    semantic = Conditioning("semantic", 3, 16, 16, ["sky", "sea", "sun"], {"test": 1})
    legend = label_legend(semantic, np.arange(3, dtype=np.uint8))
    assert entries == tuple({"name": one.name, "colour": one.colour} for one in legend)


def test_channels_that_no_screen_shows_are_refused(latent_exports, tmp_path):
    artifacts = copy_of(latent_exports, tmp_path)
    card = json.loads((artifacts / "export" / "int8" / "card.json").read_text())
    edit_card(artifacts, "int8", outputs=[card["outputs"][0] | {"shape": ["batch", 4, 16, 16]}])
    with pytest.raises(ConfigError, match=r"export/int8 draws images of 4 channels; the page can show 1 \(grey\)"):
        surface(find_generator(artifacts, "int8"))


def test_range_that_is_none_is_refused(latent_exports, tmp_path):
    artifacts = copy_of(latent_exports, tmp_path)
    card = json.loads((artifacts / "export" / "int8" / "card.json").read_text())
    edit_card(artifacts, "int8", outputs=[card["outputs"][0] | {"values": "bright"}])
    with pytest.raises(DataError, match=r"its card gives 'bright' as values of 'images'; the page needs a range"):
        surface(find_generator(artifacts, "int8"))


def test_site_is_whole_and_every_digest_holds(latent_exports, files_of_runtime, tmp_path):
    out = tmp_path / "site"
    site = build_site(*choose_pair(latent_exports, None, None), files_of_runtime, tmp_path / "none", out)
    manifest = json.loads((out / "manifest.json").read_text())
    files = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    assert files.keys() == manifest["digests"].keys() | {"manifest.json"}
    for name, digest in manifest["digests"].items():
        assert hashlib.sha256(files[name].read_bytes()).hexdigest() == digest
    assert site.size_bytes == sum(path.stat().st_size for path in files.values())
    assert (manifest["kind"], manifest["input"]["shape"], manifest["input"]["range"]) == ("latents", [100], None)
    for entry, item in zip(manifest["generators"], ("teacher", "int8"), strict=True):
        exported = (latent_exports / "export" / item / "generator.onnx").read_bytes()
        assert files[entry["file"]].read_bytes() == exported
        assert entry["sha256"] == hashlib.sha256(exported).hexdigest()
        assert entry["bytes"] == len(exported)


def test_page_names_nothing_that_is_not_in_it(latent_exports, files_of_runtime, tmp_path):
    out = tmp_path / "site"
    build_site(*choose_pair(latent_exports, None, None), files_of_runtime, tmp_path / "none", out)
    pages = [path for path in out.iterdir() if path.suffix in (".html", ".css", ".js")]
    assert {path.suffix for path in pages} == {".html", ".css", ".js"}
    for path in pages:
        text = path.read_text()
        assert not re.findall(r"(?:https?:)?//[\w-]+\.\w", text), path.name
        for name in re.findall(r"""(?:from|src=|href=|new URL\()\s*['"]\.?/?([\w./-]+\.\w+)['"]""", text):
            assert name == "runtime/ort.wasm.bundle.min.mjs" or (out / name).is_file(), (path.name, name)


def test_same_generators_same_bytes(latent_exports, files_of_runtime, tmp_path):
    chosen = choose_pair(latent_exports, None, None)
    for name in ("one", "two"):
        build_site(*chosen, files_of_runtime, tmp_path / "none", tmp_path / name)
    assert (tmp_path / "one" / "manifest.json").read_bytes() == (tmp_path / "two" / "manifest.json").read_bytes()


def test_former_demo_is_replaced_and_other_files_are_not(latent_exports, files_of_runtime, tmp_path):
    chosen, out = choose_pair(latent_exports, None, None), tmp_path / "site"
    build_site(*chosen, files_of_runtime, tmp_path / "none", out)
    (out / "former.txt").write_text("former")
    build_site(*chosen, files_of_runtime, tmp_path / "none", out)
    assert not (out / "former.txt").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("thesis")
    with pytest.raises(ConfigError, match=r"--out .*mine has other files, which would be lost; give a new or empty"):
        build_site(*chosen, files_of_runtime, tmp_path / "none", mine)
    with pytest.raises(ConfigError, match=r"thesis.txt is a file; give a folder"):
        build_site(*chosen, files_of_runtime, tmp_path / "none", mine / "thesis.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "runtime-files", "site"]


@pytest.mark.parametrize(
    ("item", "settings"),
    [
        ("teacher", {}),
        ("int8", {}),
        ("stored-int8", {"session": {"disable_quant_qdq": "1"}}),
        ("activations-int8", {"optimization": {"disable_specified_optimizers": "WeightBiasQuantization"}}),
    ],
)
def test_runtime_is_told_what_each_number_type_needs(latent_exports, item, settings):
    assert session_settings(latent_exports / "export" / item / "generator.onnx") == settings


def test_directions_are_the_singular_vectors_of_a_linear_generator():
    random = torch.Generator().manual_seed(0)
    left, _ = torch.linalg.qr(torch.randn(48, 6, generator=random))
    right, _ = torch.linalg.qr(torch.randn(6, 6, generator=random))
    matrix = left @ torch.diag(torch.tensor([9.0, 7.0, 5.0, 3.0, 2.0, 1.0])) @ right.T
    found = principal_directions(lambda z: (z @ matrix.T).reshape(-1, 3, 4, 4), latent=6, count=4)
    torch.testing.assert_close((found @ right).abs(), torch.eye(6)[:4], rtol=0, atol=1e-4)
    assert ((found @ matrix.T).mean(1) >= 0).all()  # forward is brighter


@pytest.mark.parametrize("constant", [0.5, float("nan")])
def test_images_that_do_not_depend_on_latents_are_refused(constant):
    with pytest.raises(DataError, match="images do not change with its latents, or are not finite"):
        principal_directions(lambda z: torch.full((len(z), 1, 4, 4), constant), latent=3, count=2)


@pytest.mark.parametrize("channels", [1, 3])
def test_drawn_picture(channels):
    pixels = drawn_sources(image_surface(shape=(channels, 20, 24)))
    assert (pixels.shape, pixels.dtype) == ((1, channels, 20, 24), np.uint8)
    assert pixels.std() > 10


def test_drawn_label_map_holds_every_label():
    ids = drawn_sources(image_surface("labels", (5, 20, 24), tuple("abcde")))
    assert ids.shape == (1, 1, 20, 24)
    assert sorted(np.unique(ids)) == [0, 1, 2, 3, 4]


def test_samples_are_of_the_test_split_where_it_fits(tmp_path):
    sources = np.random.default_rng(0).integers(0, 256, (20, 3, 20, 24)).astype(np.uint8)
    np.save(tmp_path / "test_sources.npy", sources)
    conditioning = Conditioning("paired", 3, 20, 24, [], {"test": 20})
    PreparedMeta("pairs:x", 20, 3, [], {"test": 20}, "none", 24, conditioning).save(tmp_path)
    pixels, origin = sample_sources(image_surface(), tmp_path)
    assert origin == "test split"
    assert len({bytes(row.tobytes()) for row in pixels} & {row.tobytes() for row in sources}) == len(pixels) == 8
    assert sample_sources(image_surface(shape=(3, 40, 24)), tmp_path)[1] == "drawn by ganpress"
