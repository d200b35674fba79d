"""Translates ONNX operators on shapes and positions: shapes, slices, borders, sizes, sums over axes."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ganpress.imported.onnx_translation import BATCH, Operator, Translation, Value, optional, whole_numbers


def constant(_of: Translation, _inputs: list[Any], attributes: dict[str, Any]) -> Value:
    name, value = next(iter(attributes.items()))
    if name == "value":
        return Value(value.float() if value.is_floating_point() else value)
    kinds = {"value_float": torch.float32, "value_floats": torch.float32, "value_int": torch.int64}
    return Value(torch.tensor(value, dtype=kinds.get(name, torch.int64)))


def constant_of_shape(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    value = attributes.get("value", torch.zeros(1))
    numbers = whole_numbers(inputs[0])
    return of.call(_filled_like, of.shape(numbers, static=False), Value(value.reshape(1)))


def _filled_like(shape: list[int], one: Tensor) -> Tensor:
    return one.expand(shape).clone()


def shape(_of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    sizes = list(inputs[0].example.shape)[attributes.get("start", 0) : attributes.get("end")]
    return Value(torch.tensor(sizes, dtype=torch.int64))


def reshape(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, numbers = inputs[0], whole_numbers(inputs[1])
    if not attributes.get("allowzero", 0):
        numbers = [x.example.shape[place] if one == 0 else one for place, one in enumerate(numbers)]
    return of.call(_reshaped, x, of.shape(numbers) if not x.is_constant else numbers)


def _reshaped(x: Tensor, shape: list[int]) -> Tensor:
    return x.reshape(shape)


def flatten(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    axis, shape = attributes.get("axis", 1), inputs[0].example.shape
    first = math.prod(shape[:axis])
    return of.call(_reshaped, inputs[0], of.shape([first, -1], static=False))


def expand(of: Translation, inputs: list[Any], _: dict[str, Any]) -> Value:
    numbers = whole_numbers(inputs[1])
    common = list(np.broadcast_shapes(tuple(inputs[0].example.shape), tuple(numbers)))
    return of.call(expanded, inputs[0], of.shape(common, static=False))


def expanded(x: Tensor, shape: list[int]) -> Tensor:
    return x.expand(shape)


def gather(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, places = inputs
    if not places.is_constant:
        if x.example.dim() != 2 or attributes.get("axis", 0) != 0:
            raise of.refused("reads places that depend on the input")
        return of.call(functional.embedding, places, x)
    return of.call(taken, x, attributes.get("axis", 0), places.example.tolist())


def taken(x: Tensor, axis: int, places: Any) -> Tensor:
    if isinstance(places, int):
        return x.select(axis, places)
    index = torch.tensor(places, device=x.device)
    taken = x.index_select(axis, index.flatten() % x.shape[axis])
    return taken.reshape(*x.shape[:axis], *index.shape, *x.shape[axis:][1:])


def part(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x = inputs[0]
    starts, ends = (
        whole_numbers(optional(inputs, place) or attributes[name]) for place, name in ((1, "starts"), (2, "ends"))
    )
    axes = optional(inputs, 3) or attributes.get("axes") or list(range(len(starts)))
    steps = optional(inputs, 4)
    for axis, start, end, step in zip(
        whole_numbers(axes), starts, ends, whole_numbers(steps) if steps else [1] * len(starts), strict=True
    ):
        if step < 0:
            x = of.call(torch.flip, x, [axis])
            if step != -1 or start not in (-1, x.example.shape[axis] - 1) or end > -x.example.shape[axis]:
                raise of.refused("goes backwards through a part")
            continue
        x = of.call(cut, x, axis, start, min(end, 2**31), step)
    return x  # type: ignore[no-any-return]


def cut(x: Tensor, axis: int, start: int, end: int, step: int) -> Tensor:
    places = [slice(None)] * x.dim()
    places[axis] = slice(start, end, step)
    return x[tuple(places)]


def _axes(inputs: list[Any], attributes: dict[str, Any]) -> list[int] | None:
    given = optional(inputs, 1)
    found = given if given is not None else attributes.get("axes")
    return None if found is None else whole_numbers(found)


def unsqueeze(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, axes = inputs[0], _axes(inputs, attributes) or []
    whole = x.example.dim() + len(axes)
    for axis in sorted(one % whole for one in axes):
        x = of.call(torch.unsqueeze, x, axis)
    return x  # type: ignore[no-any-return]


def squeeze(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, axes = inputs[0], _axes(inputs, attributes)
    found = [place for place, size in enumerate(x.example.shape) if size == 1] if axes is None else axes
    for axis in sorted((one % x.example.dim() for one in found), reverse=True):
        x = of.call(torch.squeeze, x, axis)
    return x  # type: ignore[no-any-return]


def reduce(function: Callable[..., Tensor]) -> Operator:
    def made(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
        axes = _axes(inputs, attributes)
        keep = bool(attributes.get("keepdims", 1))
        return of.call(function, inputs[0], axes or list(range(inputs[0].example.dim())), keepdim=keep)

    return made


def concat(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    axis = attributes["axis"]
    batched = any(not one.is_constant for one in inputs)
    parts = []
    for one in inputs:  # a constant of one sample beside maps of the whole batch
        shape = list(one.example.shape)
        alone = batched and one.is_constant and axis != 0 and shape[:1] == [1]
        parts.append(of.call(expanded, one, of.shape([BATCH, *shape[1:]])) if alone else one)
    return of.call(torch.cat, parts, axis)


def split(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
    x, axis = inputs[0], attributes.get("axis", 0)
    given = optional(inputs, 1) or attributes.get("split")
    count = attributes.get("num_outputs", 2)
    size = x.example.shape[axis]
    each = math.ceil(size / count)
    sizes = [each] * (count - 1) + [size - each * (count - 1)] if given is None else whole_numbers(given)
    starts = np.cumsum([0, *sizes]).tolist()
    return [of.call(cut, x, axis, start, start + one, 1) for start, one in zip(starts, sizes, strict=False)]


def pad(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x = inputs[0]
    pads = whole_numbers(optional(inputs, 1) or attributes["pads"])
    value = optional(inputs, 2)
    fill = attributes.get("value", 0.0) if value is None else float(value.example)
    axes = optional(inputs, 3)
    count = x.example.dim()
    if axes is not None:
        whole = [0] * 2 * count
        for place, axis in enumerate(whole_numbers(axes)):
            whole[axis % count], whole[axis % count + count] = pads[place], pads[place + len(pads) // 2]
        pads = whole
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}.get(attributes.get("mode", "constant"))
    if mode is None:
        raise of.refused(f"pads by '{attributes['mode']}'")
    if mode == "constant":
        return of.call(functional.pad, x, torch_pads(pads), mode, fill)
    if any(pads[axis] or pads[axis + count] for axis in (0, 1)):
        raise of.refused("reflects over channels")
    return of.call(functional.pad, x, torch_pads([*pads[2:count], *pads[count + 2 :]]), mode)


def torch_pads(pads: list[int]) -> list[int]:
    """ONNX's pads of trailing axes in the order of `functional.pad`: from the last axis on, before and behind."""
    axes = len(pads) // 2
    return [pads[place + side * axes] for place in reversed(range(axes)) for side in (0, 1)]


def resize(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, before = inputs[0], inputs[0].example.shape
    sizes, scales = optional(inputs, 3), optional(inputs, 2) or (optional(inputs, 1) if len(inputs) == 2 else None)
    if sizes is not None:
        after = whole_numbers(sizes)
    else:
        factors = attributes["scales"] if scales is None else scales.example.tolist()
        after = [math.floor(size * factor) for size, factor in zip(before, factors, strict=True)]
    after = [size if place > 1 else before[place] for place, size in enumerate(after)]
    where = attributes.get("coordinate_transformation_mode", "half_pixel")
    mode, size = attributes.get("mode", "nearest"), list(after[2:])
    if mode == "nearest":
        whole = all(one % other == 0 for one, other in zip(after[2:], before[2:], strict=True))
        if not whole and (where != "asymmetric" or attributes.get("nearest_mode", "round_prefer_floor") != "floor"):
            raise of.refused("resizes by a fraction in another way than torch")
        return of.call(functional.interpolate, x, size, None, "nearest")
    if where not in ("half_pixel", "pytorch_half_pixel", "align_corners") or len(size) != 2:
        raise of.refused(f"resizes with coordinates '{where}'")
    kind = {"linear": "bilinear", "cubic": "bicubic"}[mode]
    return of.call(functional.interpolate, x, size, None, kind, where == "align_corners")


def depth_to_space(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, block = inputs[0], attributes["blocksize"]
    if attributes.get("mode", "DCR") == "DCR":
        channels = x.example.shape[1] // block**2
        order = torch.arange(channels * block**2).reshape(block**2, channels).T.flatten().tolist()
        x = of.call(taken, x, 1, order)
    return of.call(functional.pixel_shuffle, x, block)


def transpose(of: Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    order = attributes.get("perm") or list(reversed(range(inputs[0].example.dim())))
    return of.call(torch.permute, inputs[0], list(order))


def tile(of: Translation, inputs: list[Any], _: dict[str, Any]) -> Value:
    return of.call(torch.tile, inputs[0], whole_numbers(inputs[1]))
