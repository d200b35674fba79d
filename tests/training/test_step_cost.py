"""Costs of training steps that were counted without computing, compared with real steps."""

import gc
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from ganpress.config.base import parse, read_yaml
from ganpress.config.params import Params, merge_overlay
from ganpress.errors import ConfigError
from ganpress.training.loop import TrainingRun
from ganpress.training.step_cost import TensorBytes, step_cost
from tasks.shared.training_costs import Chain, canvas_of_chain, training_costs

ROOT = Path(__file__).resolve().parents[2]
PAPERS = (
    "mnist_paper",
    "cifar10_paper",
    "celeba_paper",
    "horse2zebra_cyclegan",
    "edges2shoes_pix2pix",
    "cityscapes_gaugan",
)
CPU = torch.device("cpu")
KINDS = ("train", "distil", "supernet", "fine-tune")
DIGITS_LABELS = 11
"""Label classes of `segments:digits`."""
GPU_BYTES = 80e9


def params_of(recipe: str | None, changes: dict[str, Any] | None = None) -> Params:
    content = read_yaml(ROOT / "params.yaml")
    if recipe is not None:
        content = merge_overlay(content, read_yaml(ROOT / "recipes" / f"{recipe}.yaml"))
    return parse(merge_overlay(content, changes or {}), Params, str(recipe))


class Stopped(Exception):
    """Ends a trainer."""


class ComputedRun(TrainingRun):
    """Takes two real steps; counts the second by torch's own counter, and what the allocator holds."""

    def train(self, network, step, state, config, images_per_step=None):
        shown = images_per_step or config.batch_size
        step(0)
        with FlopCounterMode(display=False) as counter:
            losses = step(shown)
        assert all(bool(torch.isfinite(value)) for value in losses.values())
        raise Stopped(counter.get_total_flops() / shown)


def computed(training) -> tuple[float, int]:
    """Operations for each image, and the most bytes that the processor's allocator had given away."""
    gc.collect()  # what earlier tests left would be freed meanwhile, and count against the peak
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen, pytest.raises(Stopped) as stopped:
        training(ComputedRun(1, "cost"))
    events = [one for one in seen.profiler.kineto_results.events() if one.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda one: one.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return stopped.value.args[0], peak


def trainings_of(params: Params, chain: Chain):
    item = max(params.candidate.items.values(), key=lambda one: one.depth or 0)
    return {
        "train": partial(chain.train, params.candidate.training, item.generator_name),
        "distil": partial(chain.distil, list(params.student.items.values())[-1]),
        "supernet": partial(chain.distil_supernet, True),
        "fine-tune": chain.fine_tune,
    }


def counted_and_computed(params: Params, kind: str):
    canvas = canvas_of_chain(params, DIGITS_LABELS if params.data.source.startswith("segments") else None)
    apart, real = Chain(params, canvas), Chain(params, canvas, CPU)
    with apart.feature_network(), real.feature_network():
        return step_cost(trainings_of(params, apart)[kind]), computed(trainings_of(params, real)[kind])


QUICK = (None, "train")
SMALL = [(recipe, kind) for recipe in (None, "smoke_unpaired", "smoke_semantic") for kind in KINDS]


@pytest.mark.parametrize(
    ("recipe", "kind"), [pytest.param(*one, marks=() if one == QUICK else pytest.mark.slow) for one in SMALL]
)
def test_what_was_counted_is_what_a_step_computes_and_holds(recipe, kind):
    """Of networks as small as these, the room that convolutions take for themselves is a large part."""
    cost, (flops, peak) = counted_and_computed(params_of(recipe), kind)
    assert cost.flops_per_image == flops > 0
    assert peak / 1.5 < cost.peak_bytes < 1.05 * peak


@pytest.mark.slow
@pytest.mark.parametrize("recipe", PAPERS)
def test_a_published_size_is_counted_as_one_step_of_it_computes(recipe):
    """The widest candidate at its size, by as small a batch as batch norm allows."""
    params = params_of(recipe)
    training = params.candidate.training.model_copy(update={"batch_size": 2 if recipe.endswith("_paper") else 1})
    params = params.model_copy(update={"candidate": params.candidate.model_copy(update={"training": training})})
    cost, (flops, peak) = counted_and_computed(params, "train")
    assert cost.flops_per_image == flops > 0
    assert peak / 1.25 < cost.peak_bytes < 1.05 * peak


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["distil", "supernet", "fine-tune"])
@pytest.mark.parametrize("recipe", [one for one in PAPERS if one.endswith("_paper")])
def test_a_step_of_each_distillation_at_a_published_size(recipe, kind):
    """Those of conditional data: tests/test_recipes.py."""
    params = params_of(recipe)
    small = {"batch_size": 2}
    student = params.student.training.model_copy(update=small)
    supernet = params.supernet.training.model_copy(update=small)
    changes = {
        "student": params.student.model_copy(update={"training": student}),
        "supernet": params.supernet.model_copy(update={"training": supernet}),
        "subnet": params.subnet.model_copy(update={"fine_tuning": student}),
    }
    cost, (flops, peak) = counted_and_computed(params.model_copy(update=changes), kind)
    assert cost.flops_per_image == flops > 0
    assert peak / 1.25 < cost.peak_bytes < 1.05 * peak


@pytest.mark.slow
@pytest.mark.parametrize("recipe", PAPERS)
def test_every_training_of_a_published_size_fits_one_gpu(recipe):
    params = params_of(recipe)
    costs = list(training_costs(params))
    items = [params.candidate.items, params.student.items, params.control.items]
    assert len(costs) == sum(map(len, items)) + 2  # the supernet, and the fine-tuning
    peak = max(one.step.peak_bytes for one in costs)
    assert peak < GPU_BYTES
    assert all(one.flops > 0 for one in costs)
    hours = sum(one.flops for one in costs) / 1e13 / 3600
    said = f"{hours:.1f} hours at 10 TFLOP/s, {peak / 2**30:.1f} GiB at most"
    assert said in (ROOT / "recipes" / f"{recipe}.yaml").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "results" / "published.md").read_text(encoding="utf-8")
    assert f"| {len(costs)} | {hours:.1f} | {peak / 2**30:.1f} GiB | not run |" in page


def test_operations_grow_with_the_batch_and_memory_too():
    params = params_of(None)
    small, large = (
        step_cost(partial(Chain(params, canvas_of_chain(params)).train, training, "wdcgan:4"))
        for training in (params.candidate.training.model_copy(update={"batch_size": size}) for size in (16, 64))
    )
    assert large.flops_per_image == small.flops_per_image
    assert small.peak_bytes < large.peak_bytes < 4 * small.peak_bytes


def test_memory_is_followed_as_tensors_come_and_go():
    with TensorBytes(CPU) as held:
        first = torch.zeros(1000)
        second = first * 2
        view = second[10:]
        assert held.now == 8000
        del first
        assert held.now == 4000
        del second
        assert held.now == 4000  # its view holds it
        del view
    assert (held.now, held.peak) == (0, 8000)


def test_a_step_that_nothing_trains_is_refused():
    with pytest.raises(ValueError, match="nothing was trained"):
        step_cost(lambda _: None)


def test_label_maps_need_their_number_of_classes():
    params = params_of("smoke_semantic", {"data": {"source": "semantic:streets"}})
    with pytest.raises(
        ConfigError, match=r"the number of label classes of 'semantic:streets' is known only .*; give --label-classes"
    ):
        next(training_costs(params))


def test_imported_generators_are_not_counted():
    params = params_of(None, {"candidate": {"items": {"mine": {"imported": True}}}})
    with pytest.raises(ConfigError, match="has an imported generator"):
        next(training_costs(params))
