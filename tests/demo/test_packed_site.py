"""The page of packed generators: it loads decoded files and shows both sizes."""

import hashlib
import json
import shutil

import pytest
import torch

from ganpress.demo.generators import find_generator
from ganpress.demo.page_manifest import session_settings
from ganpress.demo.site import build_site
from ganpress.edge.file_writing import pack_files
from ganpress.edge.proof.card_writing import write_card
from ganpress.edge.proof.verification import Verification


@pytest.fixture
def packed_exports(latent_exports, tmp_path):
    """artifacts/ with a plain teacher and the packed files of integers."""
    artifacts = shutil.copytree(latent_exports, tmp_path / "artifacts")
    for item in ("int8", "stored-int8"):
        card_file = artifacts / "export" / item / "card.json"
        card = json.loads(card_file.read_text())
        (path,) = pack_files((card_file.with_name("generator.onnx"),))
        proof = Verification(images=1, max_abs_error=0.0, snr_db=None, tolerance=0.1)
        lineage = find_generator(latent_exports, item).card.lineage
        written = write_card(path, torch.nn.Tanh(), torch.zeros(1, 1, 16, 16), proof, lineage)
        kept = ("file", "sha256", "md5", "size_bytes", "packed")
        changed = {name: value for name, value in json.loads(written.model_dump_json()).items() if name in kept}
        card_file.write_text(json.dumps(card | changed))
    return artifacts


def test_site_holds_the_decoded_file(packed_exports, latent_exports, files_of_runtime, tmp_path):
    pair = find_generator(packed_exports, "teacher"), find_generator(packed_exports, "int8")
    out = tmp_path / "site"
    build_site(*pair, files_of_runtime, tmp_path / "none", out)
    original, compressed = json.loads((out / "manifest.json").read_text())["generators"]
    plain = (latent_exports / "export" / "int8" / "generator.onnx").read_bytes()
    assert (out / compressed["file"]).read_bytes() == plain
    assert (compressed["bytes"], compressed["sha256"]) == (len(plain), hashlib.sha256(plain).hexdigest())
    assert compressed["packed_bytes"] == pair[1].path.stat().st_size < len(plain)
    assert original["packed_bytes"] is None


def test_path_of_a_packed_file(packed_exports):
    path = packed_exports / "export" / "int8" / "generator.onnx.zst"
    assert find_generator(packed_exports, str(path)).path == path


def test_session_settings_are_those_of_the_decoded_graph(packed_exports):
    stored = find_generator(packed_exports, "stored-int8").path
    assert session_settings(stored) == {"session": {"disable_quant_qdq": "1"}}
