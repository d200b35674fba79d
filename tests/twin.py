"""A second device for machines that have none: `twin` computes on the processor and refuses what a GPU would refuse.

torch lets a package fill the slot PrivateUse1 by a device written in Python (an experimental interface:
`tests/test_device.py` tests what is used here). A tensor of `twin` wraps one of the processor. Every operator is
unwrapped, computed there and wrapped again, so results equal the processor's bit for bit; operands on two devices, a
generator of the processor that draws on the device, and `.numpy()` without `.cpu()` are errors. It checks where things
are, not speed and not a GPU's rounding.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

aten = torch.ops.aten
MAY_CROSS = {aten._to_copy.default, aten.copy_.default, aten._copy_from.default, aten.set_.source_Tensor}
MAY_INDEX = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
"""Operators whose indices may be on the processor, as CUDA's may."""
CAST = ("conv2d", "conv_transpose2d.input", "linear", "matmul", "mm", "bmm", "addmm")
"""What autocast computes in its own precision."""


class TwinTensor(Tensor):
    """A tensor of the device `twin`."""

    inside: Tensor

    @staticmethod
    def __new__(cls, inside: Tensor) -> "TwinTensor":
        made = Tensor._make_wrapper_subclass(
            cls,
            inside.size(),
            strides=inside.stride(),
            storage_offset=inside.storage_offset(),
            dtype=inside.dtype,
            layout=inside.layout,
            device=torch.device("twin", 0),
            requires_grad=False,
        )
        made.inside = inside
        return made

    @classmethod
    def __torch_dispatch__(cls, operator, types, args=(), kwargs=None):
        return compute(operator, args, kwargs or {})

    def __repr__(self, *, tensor_contents=None):
        return f"twin({self.inside!r})"

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            with torch.no_grad():
                copied = self.detach().clone()
            is_parameter = isinstance(self, torch.nn.Parameter) or getattr(self, "_is_param", False)
            memo[id(self)] = (
                torch.nn.Parameter(copied, self.requires_grad)
                if is_parameter
                else copied.requires_grad_(self.requires_grad)
            )
        return memo[id(self)]

    def __reduce_ex__(self, protocol):
        return self.inside.detach().__reduce_ex__(protocol)  # in a file it is what `map_location="cpu"` makes of it

    def tolist(self):
        return self.inside.tolist()

    def numpy(self, *, force=False):
        if not force:
            raise TypeError("can't convert twin:0 device type tensor to numpy; use Tensor.cpu() first")
        return self.inside.detach().numpy()

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.numpy()


def compute(operator, args, kwargs):
    """Run one operator on the processor's tensors inside, and wrap what is new."""
    refuse_mixtures(operator, args, kwargs)
    device = kwargs.get("device")
    inner = {
        key: torch.device("cpu") if key == "device" and torch.device(value).type == "twin" else value
        for key, value in kwargs.items()
        if key != "device" or value is not None
    }
    found = operator(*tree_map(unwrapped, args), **tree_map(unwrapped, inner))
    if operator is aten.copy_.default:
        return args[0]
    given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
    same = {id(unwrapped(one)): one for one in given}
    on_twin = any(map(is_twin, given)) if device is None else torch.device(device).type == "twin"

    def wrapped(one):
        if not isinstance(one, Tensor):
            return one
        return same.get(id(one), TwinTensor(one) if on_twin else one)

    return tree_map(wrapped, found)


def is_twin(value: object) -> bool:
    return isinstance(value, TwinTensor)


def unwrapped(value):
    return value.inside if is_twin(value) else value


def refuse_mixtures(operator, args, kwargs):
    if operator in MAY_CROSS:
        return
    leaves = tree_leaves((args, kwargs))
    tensors = [one for one in leaves if isinstance(one, Tensor)]
    if not any(map(is_twin, tensors)):
        return
    if operator in MAY_INDEX:
        tensors = [args[0], *filter(is_twin, tensors)]
    strange = [one for one in tensors if not is_twin(one) and one.dim() > 0]  # a number may come from the processor
    if strange:
        shape = tuple(strange[0].shape)
        raise RuntimeError(f"{operator}: tensors are on twin:0 and {strange[0].device} {shape}")
    refuse_generator(operator, leaves)


def refuse_generator(operator, leaves):
    if any(isinstance(one, torch.Generator) and one.device.type == "cpu" for one in leaves):
        raise RuntimeError(f"{operator}: expected a generator of 'twin', found one of 'cpu'")


class TwinModule:
    """What torch expects of `torch.twin`."""

    _initialized = True

    def is_available(self): return True  # fmt: skip

    def is_initialized(self): return True  # fmt: skip

    def current_device(self): return 0  # fmt: skip

    def device_count(self): return 1  # fmt: skip

    def _is_in_bad_fork(self): return False  # fmt: skip

    def manual_seed_all(self, seed): pass  # fmt: skip

    def synchronize(self, device=None): pass  # fmt: skip

    def get_amp_supported_dtype(self): return [torch.bfloat16]  # fmt: skip

    def get_rng_state(self, device=None): return torch.get_rng_state()  # fmt: skip

    def set_rng_state(self, state, device=None): torch.set_rng_state(state)  # fmt: skip


_libraries: list[torch.library.Library] = []


def register() -> None:
    """Make `torch.device("twin")` a device of this process; there is no way back."""
    if _libraries:
        return
    _setup_privateuseone_for_python_backend("twin", backend_module=TwinModule())
    torch.__future__.set_swap_module_params_on_conversion(True)
    own = torch.library.Library("aten", "IMPL")
    for name, operator in factories():
        own.impl(name, made_on_twin(operator), "PrivateUse1")
    own.impl("_copy_from", copy_from, "PrivateUse1")
    others = torch.library.Library("_", "IMPL")
    others.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for name in CAST:
        base, _, overload = name.partition(".")
        own.impl(name, cast_first(getattr(getattr(aten, base), overload or "default")), "AutocastPrivateUse1")
    _libraries.extend((own, others))


def factories():
    """Operators that make a tensor of nothing, e.g. `zeros` and `randn`."""
    for full_name in torch._C._dispatch_get_all_op_names():
        if not full_name.startswith("aten::"):
            continue
        name, _, overload = full_name.removeprefix("aten::").partition(".")
        try:
            operator = getattr(getattr(aten, name), overload or "default")
        except (AttributeError, RuntimeError):
            continue
        given, returned = operator._schema.arguments, operator._schema.returns
        takes_tensors = any("Tensor" in str(one.type) for one in given)
        if "device" not in [one.name for one in given] or takes_tensors or len(returned) != 1:
            continue
        composite = torch._C._dispatch_has_kernel_for_dispatch_key(operator.name(), "CompositeImplicitAutograd")
        if "Tensor" in str(returned[0].type) and not composite:
            yield full_name.removeprefix("aten::"), operator


def made_on_twin(operator):
    def kernel(*args, **kwargs):
        refuse_generator(operator, [*args, *kwargs.values()])
        kwargs.pop("pin_memory", None)
        return TwinTensor(operator(*args, **(kwargs | {"device": torch.device("cpu")})))

    return kernel


def copy_from(source, target, non_blocking=False):
    unwrapped(target).copy_(unwrapped(source))
    return target


def cast_first(operator):
    key = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)

    def kernel(*args, **kwargs):
        precision = torch.get_autocast_dtype("twin")

        def cast(one):
            floats = isinstance(one, Tensor) and one.is_floating_point()
            return one.to(precision) if floats and one.dtype != precision else one

        with torch._C._ExcludeDispatchKeyGuard(key):
            return operator(*tree_map(cast, args), **tree_map(cast, kwargs))

    return kernel


register()
