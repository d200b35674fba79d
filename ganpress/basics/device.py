"""Selects the device on which networks are trained and measured: the CPU or a GPU.

Random numbers are always drawn on the CPU and moved, so a seed means the same on every device. Latency, cost,
compression and export are always on the CPU, which represents the edge device.
"""

import copy
import os
import re
from collections.abc import Callable
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor, nn

from ganpress.errors import ConfigError, shown

GenerateT = TypeVar("GenerateT")
ENVIRONMENT = "GANPRESS_DEVICE"
"""Environment variable that names the device; if it is absent or `auto`, a GPU is used if there is one."""
CPU = torch.device("cpu")
NAME = re.compile(r"([a-z]{1,20})(?::(0|[1-9][0-9]{0,2}))?")


def chosen_device(name: str | None = None, origin: str = ENVIRONMENT) -> torch.device:
    """Return the device of this name; None reads `GANPRESS_DEVICE`.

    Args:
        name: `auto`, `cpu`, `mps`, `cuda` or `cuda:1`.
        origin: where the name comes from, for messages.

    Raises:
        ConfigError: if there is no such device; the message lists the existing ones.
    """
    asked = name if name is not None else os.environ.get(ENVIRONMENT) or "auto"
    here = devices_here()
    if asked == "auto":
        return torch.device(next((one for one in here if one.startswith(("cuda", "mps"))), "cpu"))
    match = NAME.fullmatch(asked)
    known = [device.partition(":")[0] for device in here]
    if match is None or match[1] not in known or int(match[2] or 0) >= known.count(match[1]):
        raise ConfigError(
            f"{origin}: there is no device '{shown(asked, 40)}' here; choose auto or {', '.join(here[::-1])}"
        )
    return torch.device(asked)


def devices_here() -> list[str]:
    """Return the names of all devices of this machine, the fastest first and the CPU last."""
    found = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    extension = torch._C._get_privateuse1_backend_name()  # This is a device that another package has added to torch.
    if extension != "privateuseone":
        found.append(extension)
    return [*found, "cpu"]


def described(device: torch.device) -> str:
    """Return a description of a device, such as `cuda:0 (NVIDIA H200, 139 GiB)`."""
    if device.type != "cuda":
        return str(device)
    facts = torch.cuda.get_device_properties(device)
    return f"{device} ({facts.name}, {facts.total_memory / 2**30:.0f} GiB)"


def device_of(generate: object) -> torch.device:
    """Return the device of a network's tensors; the CPU for anything that is not a network, such as the runner of an
    edge file.
    """
    if not isinstance(generate, nn.Module):
        return CPU
    first = next(chain(generate.parameters(), generate.buffers()), None)
    return CPU if first is None else first.device


def moved(values: Tensor, device: torch.device, memory_format: torch.memory_format | None = None) -> Tensor:
    """Copy a CPU tensor to a device; to a GPU through pinned memory, so that the copy is asynchronous."""
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()
    layout = torch.preserve_format if memory_format is None else memory_format
    return values.to(device, non_blocking=device.type == "cuda", memory_format=layout)


def run_where_it_is(generate: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Run a generator on CPU inputs, whatever its device; its images stay on that device."""
    return generate(inputs.to(device_of(generate)))


def copied_to(generate: GenerateT, device: torch.device) -> GenerateT:
    """Return a copy of a network on a device that supports float64; anything that is on the CPU, or not a network, is
    returned itself.
    """
    if not isinstance(generate, nn.Module) or device in (CPU, device_of(generate)) or not has_float64(device):
        return generate
    return copy.deepcopy(generate).to(device)


def has_float64(device: torch.device) -> bool:
    """Return whether the device computes in float64, which simulated integers need; Apple's GPUs do not."""
    return device.type != "mps"


def allow_tf32(allowed: bool) -> None:
    """Allow or forbid TF32, with its 10 bits of mantissa, for float32 products on NVIDIA GPUs; torch allows it for
    convolutions by default.

    This uses torch's older interface, which `torch.export` reads; it fails if the newer one has set only convolutions.
    """
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that a device or the CPU had no memory left for a tensor."""
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in said or "can't allocate memory" in said)
    )
