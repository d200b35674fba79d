"""Describes how a user's network is called: its inputs, the result that is the image, and the memory layout.

Inside ganpress a generator reads one tensor and draws images (N, C, H, W). A user's network may read several tensors,
lists, class numbers, or a signal of one axis; it may draw several things, channels last, or numbers at random. An
*adapter* says so in plain values, which a model file holds, and translates both ways.

Several inputs come packed in one tensor. Where one of them is a map (C, H, W), the tensor is a map, too, and a vector
becomes a channel for each of its values, constant over the pixels; else all are laid behind each other in one vector.
A class number k of n comes as one number, too. Beside maps it is (2 k + 1) / n - 1, a value of pixels in [-1, 1]. In a
vector, which is drawn from the normal distribution as latents are, it is the quantile (2 k + 1) / (2 n) of that, so
that all classes are drawn equally often wherever latents are drawn; so are a network's own uniform random numbers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from statistics import NormalDist
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64, Real, Shaped
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from models.per_sample_convolution import PerSample

Noise = Literal["refused", "fixed", "input"]
View = tuple[tuple[int, ...], tuple[int, ...]]
"""Shape of a tensor and the sizes that it is reshaped to, both for one sample."""
Layout = Literal["NCHW", "NHWC"]
LISTED = "[]"
"""Suffix of the name of an input that is one entry of a list."""
RANDOM = frozenset({"randn", "rand", "randn_like", "rand_like", "normal_", "uniform_"})
"""Functions whose numbers can be given from outside."""
UNIFORM = frozenset({"rand", "rand_like", "uniform_"})
RESHAPING = frozenset({"view", "reshape", "unflatten"})
NOISE_SEED = 0
TRIAL = 2
"""Samples that a network is run with to see which random numbers are drawn for each."""


@dataclass(frozen=True)
class Drawn:
    """Random numbers that a network draws."""

    uniform: bool
    """Whether the numbers are uniform in [0, 1]; otherwise they are standard normal."""
    batched: bool
    """Whether each sample has its own; else all have the same."""
    shape: tuple[int, ...]
    """Without the first axis."""


@dataclass(frozen=True)
class InputPart:
    """One thing that a network reads."""

    name: str
    """Name of the parameter of `forward`, with the suffix `[]` for an entry of a list."""
    shape: tuple[int, ...]
    """Shape of one sample, without the batch."""
    dtype: str = "float32"
    """`float32`, or `int64` for class numbers."""
    classes: int = 2
    """Number of classes."""

    flat: bool = False
    """Whether its pixels are numbers of a vector, too: random numbers among latents."""

    @property
    def is_map(self) -> bool:
        """Whether it has pixels; latents of one pixel are a vector."""
        return len(self.shape) == 3 and self.shape[1:] != (1, 1) and not self.flat

    @property
    def size(self) -> int:
        """Channels, or values, that it takes in the packed tensor."""
        return self.shape[0] if self.is_map else math.prod(self.shape)


@dataclass(frozen=True)
class Adapter:
    """How one network is called; the default fits ganpress's own networks."""

    inputs: tuple[InputPart, ...] = ()
    """() for one tensor as it comes."""
    noises: tuple[Drawn, ...] = ()
    """The random numbers that it draws, in order, where they are fixed or inputs."""
    noise: Noise = "refused"
    """Handling of random numbers: refused, the same ones each time, or read as inputs."""
    output: str = ""
    """Path of the result that is the image: indices and names joined by dots; empty takes the first tensor."""
    layout: Layout = "NCHW"
    """Memory layout of the network's input and output maps."""
    signal: bool = False
    """Whether it reads and draws (N, C, L), which here is (N, C, 1, L)."""
    pixel: bool = False
    """Whether it reads latents (N, Z) as maps of one pixel, (N, Z, 1, 1)."""
    flat_noise: bool = False
    """Whether random maps that are inputs are numbers of a vector, as all that the network reads; maps of several sizes
    can only be so. In older model files they never are."""
    views: tuple[View, ...] = ()
    """Shapes before each reshaping at full width, and the sizes that it is given, where numbers of channels are written
    into the code; a narrower network's are fitted. () leaves sizes as they are."""
    per_sample: bool = False
    """Whether convolutions that have the batch for their groups are matrix products, see
    `models.per_sample_convolution`."""
    normal: bool = False
    """Whether class numbers and uniform random numbers come as quantiles of the normal distribution, see the head of
    this page; in older model files they never do."""

    def to_arguments(self) -> dict[str, Any]:
        """Return the adapter as plain values."""
        plain = asdict(self)
        plain["inputs"] = [[one.name, list(one.shape), one.dtype, one.classes] for one in self.inputs]
        plain["views"] = [[list(before), list(after)] for before, after in self.views]
        return plain | {"noises": [[one.uniform, one.batched, list(one.shape)] for one in self.noises]}

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> "Adapter":
        """The inverse of `to_arguments`."""
        inputs = tuple(InputPart(name, tuple(shape), *rest) for name, shape, *rest in arguments["inputs"])
        noises = tuple(Drawn(uniform, batched, tuple(shape)) for uniform, batched, shape in arguments["noises"])
        views = tuple((tuple(before), tuple(after)) for before, after in arguments.get("views", ()))
        return cls(**{**arguments, "inputs": inputs, "noises": noises, "views": views})

    @property
    def parts(self) -> tuple[InputPart, ...]:
        """All that lies in the packed tensor."""
        drawn = self.noises if self.noise == "input" else ()
        return (*self.inputs, *(InputPart("", one.shape, flat=self.flat_noise) for one in drawn))

    def packed_shape(self, own: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Shape of one packed sample.

        Args:
            own: shape of what comes before the parts, where the network's one input is none of them.

        Raises:
            ValueError: if maps of several sizes cannot be laid in one.
        """
        parts = (InputPart("", own), *self.parts) if own else self.parts
        sizes = {one.shape[1:] for one in parts if one.is_map}
        if len(sizes) > 1:
            found = ", ".join(sorted("x".join(map(str, size)) for size in sizes))
            raise ValueError(f"its maps have several sizes, {found}: they cannot be laid in one tensor")
        return (sum(one.size for one in parts), *(next(iter(sizes)) if sizes else ()))

    def call(
        self,
        network: nn.Module,
        x: Float[Tensor, "n ..."],
        enter: Callable[[Tensor], Tensor] = lambda x: x,
        fixed: Sequence[Float[Tensor, "1 ..."]] = (),
    ) -> Tensor:
        """Run a network on packed inputs and give its images, channels first, in its own range.

        Args:
            network: the user's.
            x: one tensor, or all parts packed in one.
            enter: what maps pictures, or the one tensor, to the network's range.
            fixed: random numbers, where these are fixed.
        """
        return self._laid_out(image_of(self.results(network, x, enter, fixed), self.output))

    def results(
        self,
        network: Callable[..., Any],
        x: Float[Tensor, "n ..."],
        enter: Callable[[Tensor], Tensor] = lambda x: x,
        fixed: Sequence[Float[Tensor, "1 ..."]] = (),
    ) -> Any:
        """Everything that a network returns, as it returns it; arguments as those of `call`."""
        sizes = [part.size for part in self.parts]
        pieces = [x]
        if sizes:  # what a network of one input reads comes before its random numbers
            pieces = list(torch.split(x, sizes if self.inputs else [x.shape[1] - sum(sizes), *sizes], 1))
        places = () if self.inputs else (self._laid_in(enter(pieces.pop(0))),)
        values = [self._value(part, piece) for part, piece in zip(self.parts, pieces, strict=True)]
        count = len(self.inputs)
        named = self._named([enter(one) if one.dim() == 4 else one for one in values[:count]])
        with ExitStack() as modes:
            if self.per_sample:
                modes.enter_context(PerSample(x.shape[0]))
            if self.views:
                modes.enter_context(_FittedViews(self.views))
            if not self.noises:
                return network(*places, **named)
            return self._with_noise(network, places, named, values[count:], fixed, x.shape[0])

    def _with_noise(
        self,
        network: Callable[..., Any],
        places: tuple[Tensor, ...],
        named: dict[str, Any],
        read: Sequence[Tensor],
        fixed: Sequence[Tensor],
        batch: int,
    ) -> Any:
        """Run a network on its inputs and random numbers, those that are read or fixed ones."""
        given = [self._noise_of(drawn, one, batch) for drawn, one in zip(self.noises, read or fixed, strict=True)]
        with _GivenNoise(given):
            return network(*places, **named)

    def _noise_of(self, drawn: Drawn, numbers: Float[Tensor, "rows ..."], batch: int) -> Float[Tensor, "rows_out ..."]:
        """Random numbers as the network would have drawn them, from fixed ones (1, …) or inputs (N, …)."""
        if self.noise == "input":
            uniform = (1 + torch.erf(numbers / math.sqrt(2))) / 2 if self.normal else (numbers + 1) / 2
            return uniform if drawn.uniform else numbers
        return numbers.expand(batch, *drawn.shape) if drawn.batched else numbers

    def _named(self, values: Sequence[Shaped[Tensor, "_ ..."]]) -> dict[str, Any]:
        """Arguments by name."""
        named: dict[str, Any] = {}
        for part, value in zip(self.inputs, values, strict=True):
            name = part.name.removesuffix(LISTED)
            laid = self._laid_in(value)
            if part.name.endswith(LISTED):
                named.setdefault(name, []).append(laid)
            else:
                named[name] = laid
        return named

    def _value(self, part: InputPart, piece: Float[Tensor, "n size ..."]) -> Real[Tensor, "n ..."]:
        """One part in its own shape, as the network reads it, channels first."""
        if part.is_map:
            return piece
        flat = piece[:, :, 0, 0] if piece.dim() == 4 else piece
        value = flat if len(part.shape) == 1 else flat.reshape(-1, *part.shape)
        if part.dtype != "int64":
            return value
        decode = _normal_class_numbers if self.normal else _class_numbers
        return decode(value, part.classes)

    def _laid_in(self, x: Shaped[Tensor, "n ..."]) -> Shaped[Tensor, "n ..."]:
        if x.dim() != 4:
            return x[:, :, None, None] if self.pixel and x.dim() == 2 else x
        if self.signal:
            return x[:, :, 0]
        return x.permute(0, 2, 3, 1) if self.layout == "NHWC" else x

    def _laid_out(self, images: Tensor) -> Tensor:
        if self.signal:
            return images[:, :, None]
        return images.permute(0, 3, 1, 2) if self.layout == "NHWC" else images


def _class_numbers(value: Float[Tensor, "*shape"], classes: int) -> Int64[Tensor, "*shape"]:
    """Numbers around [-1, 1] as class numbers, see the head of this page."""
    return ((value + 1) * (classes / 2)).floor().clamp(0, classes - 1).long()


def _normal_class_numbers(value: Float[Tensor, "*shape"], classes: int) -> Int64[Tensor, "*shape"]:
    """Numbers drawn from the normal distribution as class numbers, each equally often."""
    bounds = [NormalDist().inv_cdf(place / classes) for place in range(1, classes)]
    return (value[..., None] > torch.tensor(bounds, device=value.device)).sum(-1)


def image_of(result: Any, path: str = "") -> Tensor:
    """Take the image out of what a network returns.

    Args:
        result: a tensor, or mappings and sequences of them.
        path: indices and names joined by dots; empty takes the first tensor.

    Raises:
        ValueError: if there is no tensor there.
    """
    for step in path.split(".") if path else ():
        entries = entries_of(result)
        try:
            result = entries[step] if isinstance(entries, dict) else entries[int(step)]
        except (KeyError, IndexError, TypeError, ValueError):
            known = ", ".join(map(str, entries if isinstance(entries, dict) else range(len(entries))))
            raise ValueError(f"among its results there is no '{step}'; there are {known or 'none'}") from None
    while not isinstance(result, Tensor):
        entries = entries_of(result)
        entries = list(entries.values()) if isinstance(entries, dict) else entries
        if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
            raise ValueError(f"a generator must return a tensor, or a mapping or tuple that starts with one; "
                             f"found {type(result).__name__}")  # fmt: skip
        result = next((one for one in entries if one is not None), None)
    return result


def entries_of(result: Any) -> Any:
    """Results by name as a dict, results in order as a sequence; anything else as it is."""
    if isinstance(result, Mapping):
        return dict(result)
    if is_dataclass(result) and not isinstance(result, type):
        return {field.name: getattr(result, field.name) for field in fields(result)}
    return () if isinstance(result, Tensor) else result


class _GivenNoise(TorchFunctionMode):
    """Random numbers that are given, in the order in which they are drawn.

    Args:
        given: tensors of the shapes that are drawn, uniform ones in [0, 1].
        seen: where what is drawn is written down, while zeros are given.
    """

    def __init__(self, given: Sequence[Tensor] = (), seen: list[tuple[bool, tuple[int, ...]]] | None = None) -> None:
        super().__init__()
        self._given, self._seen = list(given), seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call one function, or answer in its place."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name not in RANDOM:
            return func(*args, **kwargs)
        like = args[0] if args and isinstance(args[0], Tensor) else None
        if self._seen is None:
            numbers = self._given.pop(0)
        else:
            shape = tuple(like.shape) if like is not None else _shape_of(args, kwargs)
            self._seen.append((name in UNIFORM, shape))
            numbers = torch.zeros(shape)
        if not name.endswith("_"):
            return numbers
        assert like is not None
        scale, shift = _spread(name, args, kwargs)
        return like.copy_(numbers * scale + shift)


class _FittedViews(TorchFunctionMode):
    """Reshapings whose sizes are written into the code, fitted to tensors of fewer channels.

    A tensor that has at full width what it is reshaped from is left alone; else one axis of the result gets what is
    there, the second before the others. Whether that axis holds the channels, an import finds out by comparing images
    (`ganpress.imported.trials`).

    Args:
        views: shapes before each reshaping at full width, and the sizes that it is given.
        seen: where these are written down instead.
    """

    def __init__(self, views: Sequence[View] = (), seen: list[View] | None = None) -> None:
        super().__init__()
        self._seen = seen
        self._whole: dict[tuple[int, tuple[int, ...]], set[tuple[int, ...]]] = {}
        for before, sizes in views:
            self._whole.setdefault((len(before), sizes[1:]), set()).add(before[1:])

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call one function, a reshaping with fitted sizes."""
        kwargs = kwargs or {}
        sizes = _sizes_given(getattr(func, "__name__", ""), args) if not kwargs else None
        if sizes is None:
            return func(*args, **kwargs)
        before = tuple(args[0].shape)
        if self._seen is not None:
            self._seen.append((before, sizes))
            return func(*args)
        whole = self._whole.get((len(before), sizes[1:]), set())
        narrower = whole and all(math.prod(before[1:]) < math.prod(one) for one in whole)
        return args[0].reshape(_fitted(before, sizes)) if narrower else func(*args)


def _sizes_given(name: str, args: Any) -> tuple[int, ...] | None:
    """The sizes that a reshaping is given as numbers; None for any other function."""
    if name not in RESHAPING or len(args) < 2 or not isinstance(args[0], Tensor):
        return None
    if name == "unflatten":
        given = (args[0].shape[0], *args[2]) if args[1] == 1 and args[0].dim() == 2 else ()
    else:
        given = args[1:] if len(args) > 2 or isinstance(args[1], int) else args[1]
    sizes = tuple(given) if isinstance(given, Sequence) else ()
    return sizes if len(sizes) > 1 and all(type(one) is int for one in sizes[1:]) else None


def _fitted(before: tuple[int, ...], sizes: tuple[int, ...]) -> list[int]:
    """Sizes of a reshaped tensor of fewer channels; the batch stays free."""
    for axis in (1, *range(len(sizes) - 1, 1, -1)):
        if sizes[axis] == -1:
            continue
        others = math.prod(size for place, size in enumerate(sizes) if place not in (0, axis) and size != -1)
        size, rest = divmod(math.prod(before[1:]), others)
        if -1 not in sizes[1:] and size and not rest:
            return [-1, *(size if place == axis else one for place, one in enumerate(sizes) if place)]
    return list(sizes)


@torch.no_grad()
def find_views(
    adapter: Adapter, network: nn.Module, x: Float[Tensor, "1 ..."], fixed: Sequence[Float[Tensor, "1 ..."]] = ()
) -> tuple[View, ...]:
    """Shapes before each reshaping of a network and the sizes that it is given, for one sample."""
    seen: list[View] = []

    def watched(*places: Any, **named: Any) -> Any:
        with _FittedViews(seen=seen):  # the adapter's own are none of the network's
            return network(*places, **named)

    replace(adapter, views=()).results(watched, x, fixed=fixed)
    return tuple(dict.fromkeys(seen))


@torch.no_grad()
def has_per_sample(adapter: Adapter, network: nn.Module, x: Float[Tensor, "1 ..."]) -> bool:
    """Whether a network has convolutions whose groups are the batch."""
    seen: list[str] = []
    fixed = fixed_noises(adapter)

    def watched(*places: Any, **named: Any) -> Any:
        with PerSample(TRIAL, seen):
            return network(*places, **named)

    adapter.results(watched, x.expand(TRIAL, *x.shape[1:]), fixed=fixed)
    return bool(seen)


def _shape_of(args: Any, kwargs: Any) -> tuple[int, ...]:
    sizes = kwargs.get("size", args)
    return tuple(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int) else tuple(sizes)


def _spread(name: str, args: Any, kwargs: Any) -> tuple[float, float]:
    """Scale and shift of `normal_(mean, std)` and `uniform_(from, to)`."""
    first = args[1] if len(args) > 1 else kwargs.get("mean", kwargs.get("from", 0.0))
    second = args[2] if len(args) > 2 else kwargs.get("std", kwargs.get("to", 1.0))
    return (second - first, first) if name == "uniform_" else (second, first)


@torch.no_grad()
def find_noises(adapter: Adapter, network: nn.Module, x: Float[Tensor, "1 ..."]) -> tuple[Drawn, ...]:
    """The random numbers that a network draws for an input of one sample.

    Raises:
        ValueError: if they have neither one row nor one for each sample.
    """
    seen: list[tuple[bool, tuple[int, ...]]] = []
    with _GivenNoise(seen=seen):
        replace(adapter, noise="refused", noises=()).results(network, x.expand(TRIAL, *x.shape[1:]))
    for _, shape in seen:
        if not shape or shape[0] not in (1, TRIAL):
            raise ValueError(f"it draws random numbers of shape {shape} for {TRIAL} samples: neither one row nor two")
    return tuple(Drawn(uniform, shape[0] == TRIAL, shape[1:]) for uniform, shape in seen)


def fixed_noises(adapter: Adapter) -> list[Float[Tensor, "1 ..."]]:
    """Random numbers to draw once and for all."""
    found = []
    for place, drawn in enumerate(adapter.noises):
        generator = torch.Generator().manual_seed(NOISE_SEED + place)
        draw = torch.rand if drawn.uniform else torch.randn
        found.append(draw((1, *drawn.shape), generator=generator))
    return found
