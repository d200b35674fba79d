"""Recording the functions that a network calls."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from ganpress.structure.function_graph import Untraceable, argument, shape_of, trace_functions


class Branches(nn.Module):
    """Calls by operator, method, function and module, in place and not."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.register_buffer("shift", torch.ones(4))

    def forward(self, x):
        x = functional.relu(self.conv(x), inplace=True)
        first, second = x.chunk(2, 1)
        first += second
        return torch.cat([first, second], 1) + self.shift[:, None, None] * 2


def test_calls_are_written_down_in_order():
    graph = trace_functions(Branches(), torch.rand(3, 2, 5, 5))
    calls = [node for node in graph.nodes if node.op == "call_method"]
    assert [node.target for node in calls] == [
        "conv2d", "relu", "chunk", "part", "part", "add", "cat", "getitem", "mul", "add",
    ]  # fmt: skip
    conv, relu, *_, mul, add = calls
    assert argument(conv, 1, "weight").target == "conv.weight"
    assert argument(relu, 1, "inplace") is True
    assert (mul.meta["computed"], add.meta["computed"]) == (False, True)
    assert shape_of(add) == (3, 4, 5, 5)
    assert calls[6].args[0][0] is calls[5]  # what was added to in place


def test_the_network_and_its_mode_are_left_alone():
    network = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.Dropout()).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trace_functions(network, torch.rand(2, 2, 4, 4))
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_nothing_is_computed_on_the_meta_device():
    with torch.device("meta"):
        graph = trace_functions(nn.Linear(3, 10**9), torch.empty(1, 3))
    assert shape_of(next(node for node in graph.nodes if node.target == "linear")) == (1, 10**9)


class Deciding(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_what_runs_may_not_depend_on_the_input():
    with pytest.raises(Untraceable, match=r"reads numbers of what it computes \(bool\)"):
        trace_functions(Deciding(), torch.rand(1, 3))


class Casting(nn.Module):
    def forward(self, x):
        return x * (x > 0).float() + (x < 0).int() + x.bool()


def test_a_change_of_the_number_type_reads_no_values():
    graph = trace_functions(Casting(), torch.rand(1, 3))
    assert {"float", "int", "bool"} <= {node.target for node in graph.nodes}
