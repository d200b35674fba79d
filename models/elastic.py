"""Once-for-all generators of any architecture: one set of weights that runs at any width (Li et al. 2020, section 3.3).

A sub-generator uses the first channels of every layer. So the weights of a narrow network are the leading corner of the
widest one's, and elasticity does not depend on the architecture: the supernet builds the static network of a spec
without weights (a *skeleton*, on the meta device), cuts the widest network's parameters to the skeleton's shapes, and
runs the skeleton with them. The extracted network is the same skeleton with the same weights, so its images are
bit-identical.

The supernet has no hidden state: the spec, and the normalisation statistics that belong to it, are arguments; each
thread has its own skeletons. Sub-generators can be evaluated in parallel and in any order.
"""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from models.taps import tapped

Statistics = Mapping[str, Tensor]
"""Running statistics of one sub-generator's batch normalisations, by buffer name; empty if it has none."""

Kept = Mapping[str, tuple[Tensor | None, ...]]
"""Indices (n,) kept in each dimension, by parameter or constant buffer; None keeps the first ones."""

SKELETONS = 16
"""Built networks that each thread remembers, the last used ones: the largest, the smallest and the step's random ones.
More would not be used again, and Python's garbage collector visits every one.
"""


@dataclass(frozen=True)
class Spec:
    """The width numbers that name a (sub-)generator, in its family's order.

    Text form: ``16`` if all are equal, else ``16_8_16_4``.
    """

    numbers: tuple[int, ...]

    def __str__(self) -> str:
        return str(self.numbers[0]) if len(set(self.numbers)) == 1 else self.text

    @property
    def text(self) -> str:
        """Text form, with all numbers even if they are equal."""
        return "_".join(map(str, self.numbers))

    @classmethod
    def parse(cls, text: str, places: int) -> "Spec":
        """Read the text form for a family of `places` numbers.

        Raises:
            ValueError: if the text is not numbers joined by `_`, or their count is neither 1 nor `places`.
        """
        parts = text.split("_")
        if not all(part.isdecimal() and int(part) > 0 for part in parts):
            raise ValueError(f"spec '{text}' is not numbers of at least 1 joined by '_', e.g. '16' or '16_8_16_4'")
        if len(parts) not in (1, places):
            raise ValueError(f"spec '{text}' has {len(parts)} numbers; this generator takes 1 or {places}")
        numbers = tuple(map(int, parts))
        return cls(numbers * places if len(numbers) == 1 else numbers)


@dataclass(frozen=True)
class WidthSpace:
    """All specs that take one of the given numbers in each place."""

    choices: tuple[tuple[int, ...], ...]
    """The numbers allowed in each place, ascending."""

    def __post_init__(self) -> None:
        for place, numbers in enumerate(self.choices):
            if not numbers or list(numbers) != sorted(set(numbers)) or numbers[0] < 1:
                raise ValueError(f"widths of place {place} must be ascending and at least 1, found {list(numbers)}")

    @property
    def places(self) -> int:
        """Number of numbers in a spec."""
        return len(self.choices)

    @property
    def largest(self) -> Spec:
        return Spec(tuple(numbers[-1] for numbers in self.choices))

    @property
    def smallest(self) -> Spec:
        return Spec(tuple(numbers[0] for numbers in self.choices))

    def __len__(self) -> int:
        return math.prod(len(numbers) for numbers in self.choices)

    def __getitem__(self, index: int) -> Spec:
        """The `index`-th spec, counting like digits with the last place fastest."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        chosen = []
        for numbers in reversed(self.choices):
            index, digit = divmod(index, len(numbers))
            chosen.append(numbers[digit])
        return Spec(tuple(reversed(chosen)))

    def __contains__(self, spec: object) -> bool:
        if not isinstance(spec, Spec) or len(spec.numbers) != self.places:
            return False
        return all(number in numbers for number, numbers in zip(spec.numbers, self.choices, strict=True))

    def __str__(self) -> str:
        if len(set(self.choices)) == 1:
            return f"{self.places} numbers out of {list(self.choices[0])}"
        return "numbers out of " + ", ".join(str(list(numbers)) for numbers in self.choices)

    def at(self, indices: Sequence[int]) -> Spec:
        """The spec that takes the `indices[i]`-th choice in place i."""
        return Spec(tuple(numbers[int(index)] for numbers, index in zip(self.choices, indices, strict=True)))

    def sample(self, generator: torch.Generator) -> Spec:
        """Draw every place uniformly."""
        drawn = torch.rand(self.places, generator=generator).tolist()
        return self.at([int(share * len(numbers)) for share, numbers in zip(drawn, self.choices, strict=True)])


class Elastic(nn.Module):
    """A supernet: runs any of its sub-generators, named by a spec, on inputs.

    Args:
        space: the specs that it can run.
        build: makes the static network of a spec; called on the meta device for skeletons, on the CPU for the widest.
        kept: which indices of the widest network's parameters a spec keeps, for layers that read concatenations and so
            do not keep the first ones; parameters that it does not name keep the first.
    """

    def __init__(
        self,
        space: WidthSpace,
        build: Callable[[Spec], nn.Module],
        kept: Callable[[Spec, Spec], Kept] | None = None,
    ) -> None:
        super().__init__()
        self.space = space
        self.widest = build(space.largest)
        self._build = build
        self._kept = kept
        self._skeletons = _Skeletons()

    def forward(
        self, x: Float[Tensor, "n ..."], spec: Spec, statistics: Statistics | None = None
    ) -> Float[Tensor, "n c h w"]:
        """Run the sub-generator `spec`, normalising by `statistics`, or by the batch's own where None.

        Raises:
            ValueError: if `spec` lies outside the space of this supernet.
        """
        return self.run(x, spec, statistics)[0]

    def run(
        self, x: Float[Tensor, "n ..."], spec: Spec, statistics: Statistics | None = None, taps: Sequence[str] = ()
    ) -> tuple[Float[Tensor, "n c h w"], dict[str, Tensor]]:
        """Run the sub-generator `spec` and return its images, and the outputs of the submodules `taps` by name.

        Raises:
            ValueError: if `spec` lies outside the space, or there is no submodule of a tap's name.
        """
        skeleton = self._skeleton(spec)
        skeleton.set_modes(self.training, batch_statistics=statistics is None)
        buffers = skeleton.fresh_statistics(x.device) if statistics is None else statistics
        with tapped(skeleton.network, taps) as features:
            images = skeleton({**skeleton.cut(), **buffers}, x)
        return images, dict(features)

    @torch.no_grad()
    def calibrate(self, x: Float[Tensor, "n ..."], spec: Spec) -> Statistics:
        """Measure the batch normalisation statistics of `spec` on the inputs `x`; {} where there are none."""
        skeleton = self._skeleton(spec)
        buffers = skeleton.fresh_statistics(x.device)
        if not buffers:
            return {}
        skeleton.set_modes(training=False, batch_statistics=True)
        momenta = [norm.momentum for norm in skeleton.norms]
        for norm in skeleton.norms:
            norm.momentum = None  # the plain mean over batches, of which there is one
        skeleton({**skeleton.cut(), **buffers}, x)
        for norm, momentum in zip(skeleton.norms, momenta, strict=True):
            norm.momentum = momentum
        return buffers

    @torch.no_grad()
    def extract(self, spec: Spec, statistics: Statistics) -> nn.Module:
        """Build the independent static network of `spec`; its eval output equals the supernet's bit for bit."""
        skeleton = self._skeleton(spec)
        cut = {name: tensor.detach().clone() for name, tensor in skeleton.cut().items()}
        subnet = self._build(spec).to(next(self.parameters()).device)
        subnet.load_state_dict({**subnet.state_dict(), **cut, **statistics})
        return subnet.eval()

    def _skeleton(self, spec: Spec) -> "_Skeleton":
        if spec not in self.space:
            raise ValueError(f"spec {spec} is outside this supernet's space ({self.space})")
        return self._skeletons.get(spec, self._make_skeleton)

    def _make_skeleton(self, spec: Spec) -> "_Skeleton":
        with torch.device("meta"), NoInitialisation():
            network = self._build(spec)
        kept = {} if self._kept is None else self._kept(spec, self.space.largest)
        return _Skeleton.of(network, self.widest, kept)


def _corner(tensor: Tensor, shape: tuple[int, ...], kept: tuple[Int64[Tensor, " _"] | None, ...] | None) -> Tensor:
    """The first entries of `tensor` in every dimension, or the kept ones; contiguous like an extracted network's."""
    indices = kept or (None,) * len(shape)
    for dimension, (length, index) in enumerate(zip(shape, indices, strict=True)):
        if index is not None:
            tensor = tensor.index_select(dimension, index.to(tensor.device))
        elif length != tensor.shape[dimension]:
            tensor = tensor.narrow(dimension, 0, length)
    return tensor.contiguous()


@dataclass(frozen=True)
class _Slot:
    """Source of a sub-network's tensor: the leading corner of its shape in a tensor of the widest network."""

    owner: nn.Module
    own_name: str
    shape: tuple[int, ...]
    kept: tuple[Tensor | None, ...] | None

    def cut(self) -> Tensor:
        return _corner(getattr(self.owner, self.own_name), self.shape, self.kept)


@dataclass(frozen=True)
class _Skeleton:
    """A static network without weights, and how they are cut for it.

    Facts that each step needs are looked up once, because walking through the modules costs as much as a small layer.
    """

    network: nn.Module
    slots: Mapping[str, _Slot]
    """Sources of parameters, and of buffers that are not statistics, by name."""
    norms: tuple[_BatchNorm, ...]
    statistics: tuple[str, ...]
    """Names of the batch normalisations' buffers."""
    tied: bool
    """Whether a tensor has several names."""

    @classmethod
    def of(cls, network: nn.Module, widest: nn.Module, kept: Kept) -> "_Skeleton":
        """Examine a network of meta tensors."""
        norms = [(name, module) for name, module in network.named_modules() if isinstance(module, _BatchNorm)]
        statistics = tuple(f"{name}.{own}".lstrip(".") for name, norm in norms for own, _ in norm.named_buffers())
        tensors = dict(network.named_parameters()) | dict(network.named_buffers())
        slots = {}
        for name, tensor in tensors.items():
            path, _, own = name.rpartition(".")
            if name not in statistics:
                slots[name] = _Slot(widest.get_submodule(path), own, tuple(tensor.shape), kept.get(name))
        names = [*network.named_parameters(remove_duplicate=False), *network.named_buffers(remove_duplicate=False)]
        return cls(network, slots, tuple(norm for _, norm in norms), statistics, len(names) > len(tensors))

    def __call__(self, tensors: Mapping[str, Tensor], x: Float[Tensor, "n ..."]) -> Float[Tensor, "n c h w"]:
        """Run the network with the tensors in place of its own, on inputs."""
        images: Tensor = functional_call(self.network, dict(tensors), (x,), tie_weights=self.tied)
        return images

    def cut(self) -> dict[str, Tensor]:
        """The widest network's parameters and constants in this network's shapes; gradients flow to the widest."""
        return {name: slot.cut() for name, slot in self.slots.items()}

    def set_modes(self, training: bool, batch_statistics: bool) -> None:
        """Put the network in training or evaluation; batch norm uses the batch's statistics where asked for."""
        if self.network.training != training:
            self.network.train(training)
        for norm in self.norms:
            norm.training = batch_statistics

    def fresh_statistics(self, device: torch.device) -> dict[str, Tensor]:
        """Statistics as a new network has them: means 0, variances 1, batches 0."""
        made = {}
        for name in self.statistics:
            buffer = self.network.get_buffer(name)
            fill = torch.ones if name.endswith("running_var") else torch.zeros
            made[name] = fill(buffer.shape, dtype=buffer.dtype, device=device)
        return made


class _Skeletons(threading.local):
    """The last used skeletons of each thread; a skeleton is changed while it runs."""

    def __init__(self) -> None:
        self._known: OrderedDict[Spec, _Skeleton] = OrderedDict()

    def get(self, spec: Spec, make: Callable[[Spec], _Skeleton]) -> _Skeleton:
        if spec not in self._known:
            self._known[spec] = make(spec)
            if len(self._known) > SKELETONS:
                self._known.popitem(last=False)
        self._known.move_to_end(spec)
        return self._known[spec]

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Skeletons":
        return _Skeletons()

    def __reduce__(self) -> tuple[type["_Skeletons"], tuple[()]]:
        return _Skeletons, ()


class NoInitialisation(TorchFunctionMode):
    """Skips the initialisation of new weights.

    On the meta device they have no values, and torch would draw them by Python code that imports its compiler.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call one function, unless it is one of `torch.nn.init`, which return the tensor that they are given."""
        if getattr(func, "__module__", None) == nn.init.__name__:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))
