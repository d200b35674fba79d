"""The version of the data that passed before: the record of `validate` in dvc.lock, read from DVC's cache."""

import json
import subprocess
import sys

import pytest
import yaml

from ganpress.errors import DataError
from tasks.shared.former_data import former_version
from tasks.shared.stage import Stage

COLUMNS = "path,split,label,width,height,channels,bytes,md5,mean,std,min,max,decodes"
MANIFEST = f"{COLUMNS}\na.png,train,x,8,8,1,9,0f,1.5,2,0,9,True\n"
WRITE = """\
import pathlib, sys
for one in sys.argv[1:]:
    pathlib.Path(one).write_text(pathlib.Path(one.rpartition("/")[2]).read_text())
"""


def dvc(root, *arguments):
    subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture(scope="module")
def validated(tmp_path_factory):
    """A project whose stage `validate` was run by DVC, and whose outputs are gone, as before its next run."""
    root = tmp_path_factory.mktemp("validated")
    (root / "manifest.csv").write_text(MANIFEST)
    (root / "validation.json").write_text(json.dumps({"source": "folder:x", "success": True}))
    (root / "write.py").write_text(WRITE)
    (root / "artifacts/validate").mkdir(parents=True)
    outs = ["artifacts/validate/manifest.csv", "artifacts/validate/validation.json"]
    stage = {"cmd": f"{sys.executable} write.py {' '.join(outs)}", "deps": ["manifest.csv"], "outs": outs}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"validate": stage}}))
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    dvc(root, "init", "--quiet")
    dvc(root, "repro", "--quiet")
    for out in outs:
        (root / out).unlink()
    return root


def stage_at(root):
    return Stage("validate", None, root, {"seed": 0})


def test_it_comes_out_of_the_cache(validated):
    former = former_version(stage_at(validated), "folder:x")
    assert former.manifest["path"].tolist() == ["a.png"]
    assert former.manifest["mean"].tolist() == [1.5]
    assert former_version(stage_at(validated), "digits") is None  # other data are no version of it


def test_a_cache_elsewhere_is_found_as_dvc_finds_it(validated, tmp_path):
    root = tmp_path / "worktree"
    (root / ".dvc").mkdir(parents=True)
    (root / "dvc.lock").write_bytes((validated / "dvc.lock").read_bytes())
    assert former_version(stage_at(root), "folder:x") is None
    (root / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {validated}/.dvc/cache\n")
    assert former_version(stage_at(root), "folder:x") is not None


def test_a_fresh_project_has_none_and_a_damaged_copy_is_said(validated, tmp_path):
    assert former_version(stage_at(tmp_path), "folder:x") is None
    root = tmp_path / "damaged"
    (root / ".dvc").mkdir(parents=True)
    (root / "dvc.lock").write_bytes((validated / "dvc.lock").read_bytes())
    for out in yaml.safe_load((root / "dvc.lock").read_text())["stages"]["validate"]["outs"]:
        copy = root / ".dvc/cache/files/md5" / out["md5"][:2] / out["md5"][2:]
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text("{")
    with pytest.raises(DataError, match=r"previous manifest is damaged .*run `dvc fetch validate`"):
        former_version(stage_at(root), "folder:x")
