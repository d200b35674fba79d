"""Runs every stage of a smoke recipe in one process on one device, shortened to a few steps per training.

Usage: python tests/device_chain.py RECIPE FOLDER DEVICE. The twin of `tests/twin.py` is a device, too.
"""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import yaml

CHECKOUT = Path(__file__).resolve().parents[1]
STEPS = 2
"""Of each training."""


def stages_of(params: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Every stage before the report with its items, in the order of the chain."""
    found: list[tuple[str, str | None]] = []
    for name in (
        *("validate", "prepare", "judge", "candidate", "teacher", "student", "control", "supernet", "search"),
        *("subnet", "compress", "export", "sweep", "evaluate"),
    ):
        items = params[name].get("items") if isinstance(params.get(name), dict) else None
        found += [(name, item) for item in items] if items is not None else [(name, None)]
    return found


def shortened(content: Any) -> Any:
    """The same parameters with every training `STEPS` steps long."""
    if isinstance(content, dict):
        content = {key: shortened(value) for key, value in content.items()}
        if "train_images" in content and "batch_size" in content:
            content["train_images"] = STEPS * content["batch_size"]
    return content


def main(recipe: str, folder: Path, device: str) -> None:
    if device == "twin":
        importlib.import_module("twin")
    from ganpress.config.base import read_yaml
    from ganpress.config.params import merge_overlay
    from ganpress.data.sources.acquisition import import_data
    from ganpress.tracking import StageRun
    from tasks.shared.stage import Stage

    os.environ |= {"GANPRESS_DEVICE": device, "GANPRESS_TRACKING": "off"}
    torch.set_num_threads(1)
    params = shortened(
        merge_overlay(read_yaml(CHECKOUT / "params.yaml"), read_yaml(CHECKOUT / f"recipes/{recipe}.yaml"))
    )
    params["judge"] |= {"min_accuracy": 0.0, "train_images": 64, "batch_size": 16}
    params["export"]["tolerance"] = 1.0  # that of generators of a few steps says nothing
    params["search"] |= {"objectives": ["macs"], "latency": "measured"}
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    import_data(params["data"]["source"], None, folder / "data")
    for name, item in stages_of(params):
        stage = Stage(name, item, folder, json.loads(json.dumps(params)))
        stage.out.mkdir(parents=True)
        importlib.import_module(f"tasks.{name}").work(stage, StageRun(folder, None, ""))
        print(stage.label, stage.device, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve(), sys.argv[3])
