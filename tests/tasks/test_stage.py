"""The seam of all stages, run as the process that DVC starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


def start_stage(root: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "GANPRESS_TRACKING": "off"} | variables
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=root, env=environment, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def root(tmp_path):
    (tmp_path / "params.yaml").write_text((CHECKOUT / "params.yaml").read_text())
    return tmp_path


def only_line(process: subprocess.CompletedProcess[str]) -> str:
    assert process.returncode == 2, process.stderr
    lines = process.stderr.strip().splitlines()
    assert len(lines) == 1, process.stderr
    return lines[0]


def test_missing_input_is_one_line_and_exit_code_2(root):
    line = only_line(start_stage(root, "tasks.teacher"))
    assert line.startswith("teacher: ")
    assert line.endswith("judge.safetensors is missing; run `dvc repro judge` or `ganpress run` first")


def test_unknown_key_in_the_own_section(root):
    text = (root / "params.yaml").read_text().replace("exhaustive_limit:", "exhaustive_limt:")
    (root / "params.yaml").write_text(text)
    assert "unknown key 'exhaustive_limt' (allowed here: " in only_line(start_stage(root, "tasks.search"))


def test_too_many_items(root):
    assert "takes at most one item, got: d8 d16" in only_line(start_stage(root, "tasks.candidate", "d8", "d16"))


def test_bad_thread_count(root):
    assert "GANPRESS_THREADS must be a whole number above 0, found 'many'" in only_line(
        start_stage(root, "tasks.teacher", GANPRESS_THREADS="many")
    )


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"GANPRESS_RANKS": "3"}, "candidate: candidate.training.batch_size is 64, of which 3 ranks cannot have equal "
         "shares; set it to 63, or another multiple of 3"),
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
def test_ranks_that_cannot_train_are_one_line_before_any_work(root, variables, line):
    assert only_line(start_stage(root, "tasks.candidate", "d8", GANPRESS_DEVICE="cpu", **variables)) == line
    assert [path.name for path in root.iterdir()] == ["params.yaml"]


def test_no_params(tmp_path):
    assert "params.yaml does not exist; run from the project's root" in only_line(
        start_stage(tmp_path, "tasks.teacher")
    )


def test_memory_that_does_not_suffice_is_one_line_that_names_the_setting(root):
    program = (
        "import sys, torch; sys.argv[1:] = []\n"
        "from tasks.shared.stage import stage_main\n"
        "raise SystemExit(stage_main('candidate', lambda stage, run: torch.empty(2**60, dtype=torch.uint8)))"
    )
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "GANPRESS_TRACKING": "off"}
    process = subprocess.run(
        [sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True, timeout=60
    )
    assert process.returncode == 2, process.stderr
    said = only_line(process)
    assert "the memory of the device does not suffice; lower candidate.training.batch_size and run again" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_full_disk_is_one_line(root):
    small = root / "artifacts"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("this machine does not let tests mount a small disk")
    try:
        (small / "filling").write_bytes(b"0" * 60_000)
        program = (
            "import sys; sys.argv[1:] = []\n"
            "from tasks.shared.stage import stage_main\n"
            "import torch\n"
            "from ganpress.files.checkpoint import save_atomically\n"
            "def work(stage, run): save_atomically(stage.out / 'big.pt', {'weights': torch.zeros(50_000)})\n"
            "raise SystemExit(stage_main('teacher', work))"
        )
        environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "GANPRESS_TRACKING": "off"}
        process = subprocess.run(
            [sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True, timeout=60
        )
        assert "No space left on device; free some space" in only_line(process)
    finally:
        subprocess.run(["umount", small], check=True)
