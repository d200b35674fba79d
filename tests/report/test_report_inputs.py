"""Reading artifacts: missing ones are tolerated, damaged ones are named."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from ganpress.edge.file_writing import pack_files
from ganpress.edge.proof.edge_card import FileCard, PackedCard, read_card
from ganpress.errors import CheckpointError, DataError
from ganpress.files.checkpoint import file_digest
from ganpress.report.content import ReportInputs
from tasks.shared.report_inputs import read_inputs
from tasks.shared.stage import Stage


def read(root: Path) -> ReportInputs:
    return read_inputs(Stage("report", None, root, yaml.safe_load((root / "params.yaml").read_text())))


def test_everything_is_found(project: Path) -> None:
    inputs = read(project)
    assert len(inputs.generators) == 15
    assert [one.item for one in inputs.selection.candidates if one.selected] == ["d24"]
    assert {curve.reference for curve in inputs.curves} > {"candidate/d8", "control/d2", "student/d4-joint", "supernet"}
    assert inputs.search.best in inputs.search.scored
    assert inputs.search.metric.split == "validation"
    assert inputs.data.validation_passed is True
    assert inputs.digests["data"] == "0123456789abcdef0123456789abcdef"
    assert inputs.gallery.samples["teacher"].shape == (16, 1, 32, 32)
    assert [card.item for card in inputs.cards] == ["teacher", "d4-mse", "subnet", "subnet-int8"]
    assert len(inputs.compressions) == 3
    assert [step.reference for step in inputs.steps] == ["compress/subnet-pruned", "export/teacher"]


def test_absent_parts_are_absent(project: Path) -> None:
    for name in ("search", "teacher", "validate", "prepare", "judge", "compress", "export", "candidate", "supernet"):
        shutil.rmtree(project / "artifacts" / name)
    (project / "artifacts" / "evaluate" / "gallery.npz").unlink()
    (project / "data.dvc").unlink()
    inputs = read(project)
    assert inputs.search is None
    assert inputs.selection is None
    assert inputs.data.validation_passed is None
    assert not inputs.data.prepared
    assert not inputs.gallery.samples
    assert not inputs.cards
    assert "teacher" not in inputs.digests


def test_missing_evaluation_says_what_to_run(project: Path) -> None:
    (project / "artifacts" / "evaluate" / "metrics.json").unlink()
    with pytest.raises(DataError, match=r"metrics\.json is missing; run `dvc repro evaluate`"):
        read(project)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("evaluate/metrics.json", "{"),
        ("evaluate/metrics.json", "[]"),
        ("evaluate/gallery.npz", "no archive"),
        ("teacher/selection.csv", "item,depth\nd8,8\n"),
        ("search/scores.csv", "spec,parameters,macs_exact,fid_500_validation_judge,on_front\n2_2_2,1,x,3,0\n"),
        ("search/front.csv", "spec\n"),
        ("student/d2-mse/curves.csv", "images,mse\n1,\n"),
        ("validate/validation.json", "{"),
    ],
)
def test_damaged_file_is_named(project: Path, name: str, content: str) -> None:
    path = project / "artifacts" / name
    path.write_text(content)
    with pytest.raises(DataError, match=f"{path.name} is damaged .*run `dvc repro`"):
        read(project)


def test_chosen_spec_must_have_been_scored(project: Path) -> None:
    path = project / "artifacts" / "search" / "best.json"
    path.write_text(json.dumps({"spec": "9_9_9"}))
    with pytest.raises(DataError, match=r"best\.json is damaged \(its spec 9_9_9 is not in scores\.csv\)"):
        read(project)


def test_changed_edge_file_is_refused(project: Path) -> None:
    path = project / "artifacts" / "export" / "subnet" / "generator.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match="changed after the export"):
        read(project)


def test_edge_file_of_another_source_is_told(project: Path) -> None:
    (project / "artifacts" / "subnet" / "generator.safetensors").write_bytes(b"trained again")
    subnet = next(card for card in read(project).cards if card.item == "subnet")
    assert "NOT the file measured here" in subnet.fact("made from").note


def test_packed_edge_file_is_shown_with_both_sizes(project: Path) -> None:
    path = project / "artifacts" / "export" / "subnet" / "generator.onnx"
    card, content = read_card(path), path.read_bytes()
    (packed,) = pack_files((path,))
    plain = FileCard(file=path.name, sha256=card.sha256, size_bytes=len(content))
    facts = {
        "file": packed.name,
        "sha256": file_digest(packed, "sha256"),
        "md5": file_digest(packed, "md5"),
        "size_bytes": packed.stat().st_size,
        "packed": PackedCard(size_bytes=len(content), files=(plain,)),
    }
    path.with_name("card.json").write_text(card.model_copy(update=facts).model_dump_json())
    subnet = next(card for card in read(project).cards if card.item == "subnet")
    assert subnet.fact("size").note == f"{packed.stat().st_size:,} bytes"
    assert subnet.fact("decoded at load").note.startswith(
        f"{len(content):,} bytes, sha256 {card.sha256[:8]}; Zstandard"
    )
    assert read(project).digests["export/subnet"] == facts["md5"]


def test_missing_edge_file_is_named(project: Path) -> None:
    (project / "artifacts" / "export" / "subnet" / "generator.onnx").unlink()
    with pytest.raises(CheckpointError, match=r"subnet has a card but no edge file \(generator.onnx, .*; export again"):
        read(project)


def test_failed_validation_names_its_check(project: Path) -> None:
    path = project / "artifacts" / "validate" / "validation.json"
    verdict = json.loads(path.read_text())
    verdict["success"] = verdict["checks"][0]["success"] = False
    verdict["checks"][0] |= {"unexpected": 2, "offenders": ["train/3.png", "train/9.png"]}
    path.write_text(json.dumps(verdict))
    data = read(project).data
    assert data.validation_passed is False
    assert any(fact.name == "decodes" and "train/3.png" in fact.value for fact in data.validation)


def test_sources_are_counted_beside_their_images(project: Path) -> None:
    path = project / "artifacts" / "validate" / "validation.json"
    verdict = json.loads(path.read_text())
    verdict["counts"] = {"source_test": 5, "source_train": 7, "test": 4, "train": 6}
    path.write_text(json.dumps(verdict))
    meta = project / "artifacts" / "prepare" / "meta.json"
    source = {"pairing": "unpaired", "channels": 1, "height": 16, "width": 24, "label_names": [], "counts": {"test": 5}}
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"conditioning": source}))
    data = read(project).data
    assert [fact.name for fact in data.validation[:4]] == [
        "train images",
        "test images",
        "train sources",
        "test sources",
    ]
    facts = {fact.name: fact.value for fact in data.prepared}
    assert facts["pairing"] == "unpaired"
    assert facts["source image"] == "24 × 16 × 1"
    assert facts["test sources"] == "5"
    assert data.conditioning.pairing == "unpaired"


def test_selection_without_a_choice_is_damaged(project: Path) -> None:
    path = project / "artifacts" / "teacher" / "selection.csv"
    path.write_text(path.read_text().replace(",1\n", ",0\n"))
    with pytest.raises(DataError, match="one candidate must be selected"):
        read(project)


def test_sources_and_truth_are_found_in_the_gallery(project: Path) -> None:
    images = np.zeros((2, 1, 4, 4), np.uint8)
    path = project / "artifacts" / "evaluate" / "gallery.npz"
    np.savez(path, **{"source": images, "truth": images + 1, "samples/teacher": images})
    gallery = read(project).gallery
    assert gallery.source.shape == (2, 1, 4, 4)
    assert gallery.truth.max() == 1
    assert list(gallery.samples) == ["teacher"]
