"""Packed edge files: the same images bit for bit from fewer bytes; errors are reported in one line."""

import hashlib
import json

import pytest
import torch

from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.edge.file_writing import pack_files
from ganpress.edge.proof.card_writing import TargetFacts, write_card
from ganpress.edge.proof.edge_card import Lineage, read_card
from ganpress.edge.proof.verification import verify_export
from ganpress.errors import CheckpointError
from ganpress.files.frames import read_content
from ganpress.registries import TARGETS

LINEAGE = Lineage(source="teacher", source_md5="0" * 32, builder="wdcgan_generator")
SLOW = pytest.mark.slow  # importing and lowering take half a minute


def latents(images, seed=0):
    return torch.randn(images, 100, generator=torch.Generator().manual_seed(seed))


LONG = [pytest.param(name, marks=SLOW) for name in ("executorch", "coreml", "executorch_vulkan", "executorch_coreml")]


@pytest.fixture(scope="module", params=["onnx", "openvino", "mnn", "ncnn", *LONG])
def exported(request, trained_like, tmp_path_factory):
    """(target, generator, plain files) in floats, or in ganpress's own integers where the target writes them."""
    target = TARGETS[request.param]
    if target.missing():
        pytest.skip(f"needs {target.missing()}")
    model = trained_like("8", 16, 1)
    if target.name == "onnx":
        model = quantize(model, latents(32), QuantizationConfig(8, 8))
    path = tmp_path_factory.mktemp(target.name) / f"generator{target.suffix}"
    return target, model, target.write(model, path, latents(2))


@pytest.fixture
def copies(exported, tmp_path):
    """The same with the files in a folder of the test's own."""
    target, model, files = exported
    for one in files:
        (tmp_path / one.name).write_bytes(one.read_bytes())
    return target, model, tuple(tmp_path / one.name for one in files)


def write_packed(target, model, files):
    """Pack the files and write their card; the file that is opened, and the card."""
    packed = pack_files(files)
    proof = verify_export(model, packed[0], latents(4), 0.02, target=target)
    facts = TargetFacts(target.version(), target.name, packed)
    return packed[0], write_card(packed[0], model, latents(1), proof, LINEAGE, facts=facts)


def test_packed_files_draw_the_same_images_to_the_bit(exported, copies):
    target, _, plain = exported
    inputs = latents(7, seed=3)
    path = pack_files(copies[2])[0]
    torch.testing.assert_close(target.open(path)(inputs), target.open(plain[0])(inputs), rtol=0, atol=0)
    assert target.kernels(path, inputs[:1]).layers == target.kernels(plain[0], inputs[:1]).layers


def test_packed_files_are_smaller_and_alone(exported, copies):
    contents = [one.read_bytes() for one in exported[2]]
    packed = pack_files(copies[2])
    assert sorted(packed[0].parent.iterdir()) == sorted(packed)
    assert [one.name for one in packed] == [f"{one.name}.zst" for one in exported[2]]
    assert [read_content(one) for one in packed] == contents
    assert sum(one.stat().st_size for one in packed) < sum(map(len, contents))


def test_card_has_bytes_and_digests_of_what_is_on_disk_and_of_what_it_decodes_to(exported, copies):
    path, card = write_packed(*copies)
    contents = [one.read_bytes() for one in exported[2]]
    assert read_card(path) == card
    assert card.file == path.name
    assert card.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert card.size_bytes == sum(one.stat().st_size for one in path.parent.glob("*.zst"))
    assert card.packed.size_bytes == sum(map(len, contents)) > card.size_bytes
    assert [one.sha256 for one in card.packed.files] == [hashlib.sha256(one).hexdigest() for one in contents]
    assert [one.file for one in card.packed.files] == [one.name for one in exported[2]]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_frames_are_refused_by_the_runtime_and_by_the_card(copies, share):
    path, _ = write_packed(*copies)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"\.zst is truncated or damaged: [^\n]*; export it again$"):
        copies[0].open(path)
    with pytest.raises(CheckpointError, match=r"bytes, its card says [\d,]+: truncated; export again"):
        read_card(path)


def test_a_frame_of_another_file_is_found_by_what_it_decodes_to(copies):
    path, card = write_packed(*copies)
    entry = json.loads(card.model_dump_json())
    entry["packed"]["files"][0]["sha256"] = "0" * 64
    path.with_name("card.json").write_text(json.dumps(entry))
    with pytest.raises(CheckpointError, match=r"decodes to sha256 \w{12}…, its card says 000000000000… of generator\."):
        read_card(path)


def test_openvino_misses_its_packed_weights_by_name(trained_like, tmp_path):
    target = TARGETS["openvino"]
    if target.missing():
        pytest.skip(f"needs {target.missing()}")
    graph, weights = pack_files(target.write(trained_like("2", 16, 1), tmp_path / "generator.xml", latents(2)))
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"generator\.bin\.zst does not exist; export the generator first"):
        target.open(graph)
