"""The README's recipes, one after another in one clone, in both orders: each has its own images and numbers.

The recipes are shortened; data, image sizes, families and stages stay. They once shared the key `prepare.size`,
which DVC's run cache leaves out: the second one was given the images of the first.
"""

from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[1]
PAIRS = [("edges2digits", "labels2digits_spade"), ("mnist", "mnist_d256")]
TIMED = ("export", "evaluate", "report")
SHORT = {"train_images": 320, "images": 100, "calibration_images": 32, "teacher_images": 64, "max_train_images": 600}
SMALL = {"min_accuracy": 0.0, "generations": 1, "latency_repeats": 3, "kid_subsets": 2, "kid_subset_size": 20}
DEEPEST = 4

pytestmark = pytest.mark.slow


def shortened(content: object) -> object:
    """The same recipe with little training and small W-DCGANs."""
    if not isinstance(content, dict):
        return content
    short = {key: shortened(value) for key, value in content.items()}
    for key, value in (SHORT | SMALL).items():
        if isinstance(short.get(key), int | float):
            short[key] = min(short[key], value)
    for key in ("depth", "discriminator_depth"):
        if isinstance(short.get(key), int):
            short[key] = min(short[key], DEEPEST)
    return short


def short_recipe(name: str, folder: Path) -> Path:
    content = shortened(yaml.safe_load((CHECKOUT / "recipes" / f"{name}.yaml").read_text()))
    content["sweep"] = (content.get("sweep") or {}) | {"clipping": ["mse"], "bits": [4], "images": 100}
    content["prepare"] = content.get("prepare", {}) | {"max_train_images": 600}
    content["judge"] = content.get("judge", {}) | {"min_accuracy": 0.0, "train_images": 640}
    content["search"] = content["search"] | {"max_parameters": None, "max_macs": 10**12, "exhaustive_limit": 2}
    content["search"] |= {"population": 4, "objectives": ["macs"]}
    content["evaluate"] = content["evaluate"] | SMALL | {"images": 100, "is_splits": 2}
    del content["evaluate"]["min_accuracy"], content["evaluate"]["generations"]
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def outputs(workspace: Path) -> dict[str, str]:
    """Digest of each output that holds no measured time."""
    stages = yaml.safe_load((workspace / "dvc.lock").read_text())["stages"]
    return {
        f"{name}: {out['path']}": out["md5"]
        for name, stage in stages.items()
        if name.partition("@")[0] not in TIMED
        for out in stage["outs"]
    }


def workspace_of(clone: Path, title: str) -> Path:
    folders = [folder for folder in (clone / ".ganpress" / "worktrees").iterdir() if folder.is_dir()]
    (found,) = [one for one in folders if yaml.safe_load((one / "params.yaml").read_text())["report"]["title"] == title]
    return found


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("names", PAIRS, ids=" ".join)
def test_each_recipe_makes_its_own(names, tmp_path, clone_checkout, ganpress, request):
    settings = []
    if "mnist" in names[0]:
        settings = ["--set", "data.path=" + str(request.getfixturevalue("shared_data") / "MNIST")]
    made: dict[str, list[dict[str, str]]] = {name: [] for name in names}
    for order in (names, names[::-1]):
        clone = clone_checkout(tmp_path / "-".join(order))
        for name in order:
            recipe = short_recipe(name, tmp_path)
            ganpress(clone, "run", "--recipe", str(recipe), *settings)
        for name in order:
            title = yaml.safe_load((CHECKOUT / "recipes" / f"{name}.yaml").read_text())["report"]["title"]
            made[name].append(outputs(workspace_of(clone, title)))
    for name in names:
        first, second = made[name]
        assert first == second, name
    assert made[names[0]][0] != made[names[1]][0]
