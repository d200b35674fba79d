"""The common frame of all stages, run as the process that DVC starts."""

import os
import subprocess
from pathlib import Path

import pytest
import torch

from ganpress.files.checkpoint import save_atomically
from tasks.shared.stage import Stage, stage_main

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "params.yaml").write_text((CHECKOUT / "params.yaml").read_text())
    return tmp_path


def only_line(process: subprocess.CompletedProcess[str]) -> str:
    assert process.returncode == 2, process.stderr
    lines = process.stderr.strip().splitlines()
    assert len(lines) == 1, process.stderr
    return lines[0]


def test_missing_input_is_one_line_and_exit_code_2(root, forked):
    line = only_line(forked(root, "tasks.teacher"))
    assert line.startswith("teacher: ")
    assert line.endswith("judge.safetensors is missing; run `dvc repro judge` or `ganpress run` first")


def test_unknown_key_in_the_own_section(root, forked):
    text = (root / "params.yaml").read_text().replace("exhaustive_limit:", "exhaustive_limt:")
    (root / "params.yaml").write_text(text)
    assert "unknown key 'exhaustive_limt' (allowed here: " in only_line(forked(root, "tasks.search"))


def test_too_many_items(root, forked):
    assert "takes at most one item, found: d8 d16" in only_line(forked(root, "tasks.candidate", "d8", "d16"))


def test_bad_thread_count(root, forked):
    assert "GANPRESS_THREADS must be a whole number above 0, found 'many'" in only_line(
        forked(root, "tasks.teacher", GANPRESS_THREADS="many")
    )


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"GANPRESS_RANKS": "3"}, "candidate: candidate.training.batch_size is 64, which 3 ranks cannot share equally"
         "; set it to 63, or another multiple of 3"),
        pytest.param(
            {"GANPRESS_RANKS": "two"}, "candidate: GANPRESS_RANKS must be a whole number between 1 and 64, found 'two'",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"GANPRESS_GPUS": "65"}, "candidate: GANPRESS_GPUS must be a whole number between 1 and 64, found '65'",
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_ranks_that_cannot_train_are_one_line_before_any_work(root, forked, variables, line):
    assert only_line(forked(root, "tasks.candidate", "d8", GANPRESS_DEVICE="cpu", **variables)) == line
    assert [path.name for path in root.iterdir()] == ["params.yaml"]


def test_no_params(tmp_path, forked):
    assert "params.yaml does not exist; run from the project's root" in only_line(forked(tmp_path, "tasks.teacher"))


def test_memory_that_does_not_suffice_is_one_line_that_names_the_setting(root, forked):
    ended = forked(root, lambda: stage_main("candidate", lambda *_: torch.empty(2**60, dtype=torch.uint8)))
    said = only_line(ended)
    assert "the device does not have enough memory; lower candidate.training.batch_size and run again" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_full_disk_is_one_line(root, forked):
    small = root / "artifacts"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("this machine does not let tests mount a small disk")
    try:
        (small / "filling").write_bytes(b"0" * 60_000)

        def work(stage: Stage, _: object) -> None:
            save_atomically(stage.out / "big.pt", {"weights": torch.zeros(50_000)})

        assert "No space left on device; free disk space" in only_line(
            forked(root, lambda: stage_main("teacher", work))
        )
    finally:
        subprocess.run(["umount", small], check=True)
