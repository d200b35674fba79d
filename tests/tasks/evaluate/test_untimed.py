"""Files whose runtime does not run here: their images are scored, and no time is reported."""

import json
import shutil

from ganpress.tracking import StageRun
from tasks.evaluate import work


def test_a_file_that_its_runtime_does_not_run_here_is_scored_and_not_timed(chain, stage_of, tmp_path):
    root = shutil.copytree(chain, tmp_path / "chain")
    folder = root / "artifacts" / "export" / "teacher"
    (folder / "generator.onnx").rename(folder / "generator.trt.onnx")
    (folder / "card.json").unlink(missing_ok=True)
    items = {
        "teacher": {"generator": "teacher", "target": "tensorrt"},
        "int8": {"generator": "compress/subnet-int8", "packed": True},
    }
    work(stage_of(root, export={"items": items}), StageRun(root, None, ""))
    metrics = json.loads((root / "artifacts" / "evaluate" / "metrics.json").read_text(encoding="utf-8"))
    row = metrics["export/teacher"]
    assert row["size_bytes"] > 0
    timed = {name for name in metrics["export/int8"] if name.startswith(("latency", "gmacs", "share_of"))}
    assert len(timed) >= 5
    assert not timed & set(row)
    assert set(metrics["export/int8"]) - timed <= set(row)
