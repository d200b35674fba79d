"""The device that networks are trained and measured on: the processor, or a GPU.

Random numbers are drawn on the processor whatever the device, and moved: a seed means the same everywhere. Latency,
cost, compression and export stay on the processor, which stands for the edge.
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
"""Environment variable that names the device; absent or `auto` takes a GPU where there is one."""
CPU = torch.device("cpu")
NAME = re.compile(r"([a-z]{1,20})(?::(0|[1-9][0-9]{0,2}))?")


def chosen_device(name: str | None = None, origin: str = ENVIRONMENT) -> torch.device:
    """Return the device of this name; None reads `GANPRESS_DEVICE`.

    Args:
        name: `auto`, `cpu`, `mps`, `cuda` or `cuda:1`.
        origin: where the name comes from, for messages.

    Raises:
        ConfigError: if there is no such device here; names those that there are.
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
    """Names of all devices of this machine, the fastest first and the processor last."""
    found = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    extension = torch._C._get_privateuse1_backend_name()  # a device that a package has added to torch
    if extension != "privateuseone":
        found.append(extension)
    return [*found, "cpu"]


def described(device: torch.device) -> str:
    """A device for a reader: `cuda:0 (NVIDIA H200, 139 GiB)`."""
    if device.type != "cuda":
        return str(device)
    facts = torch.cuda.get_device_properties(device)
    return f"{device} ({facts.name}, {facts.total_memory / 2**30:.0f} GiB)"


def device_of(generate: object) -> torch.device:
    """Where a network's tensors are; the processor for whatever is no network, such as the runner of an edge file."""
    if not isinstance(generate, nn.Module):
        return CPU
    first = next(chain(generate.parameters(), generate.buffers()), None)
    return CPU if first is None else first.device


def moved(values: Tensor, device: torch.device, memory_format: torch.memory_format | None = None) -> Tensor:
    """Copy a tensor of the processor to a device; to a GPU through pinned memory, so that nothing waits for it."""
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()
    layout = torch.preserve_format if memory_format is None else memory_format
    return values.to(device, non_blocking=device.type == "cuda", memory_format=layout)


def run_where_it_is(generate: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Run a generator on inputs of the processor, wherever the generator is; its images stay there."""
    return generate(inputs.to(device_of(generate)))


def copied_to(generate: GenerateT, device: torch.device) -> GenerateT:
    """Return a copy of a network on a device that computes in float64; whatever else, and on the processor, itself."""
    if not isinstance(generate, nn.Module) or device in (CPU, device_of(generate)) or not has_float64(device):
        return generate
    return copy.deepcopy(generate).to(device)


def has_float64(device: torch.device) -> bool:
    """Whether it computes in float64, which simulated integers need; Apple's GPUs do not."""
    return device.type != "mps"


def allow_tf32(allowed: bool) -> None:
    """Let NVIDIA's GPUs multiply float32 in TF32, which has 10 bits of mantissa, or not; torch's convolutions would.

    By torch's older interface: `torch.export` reads it, and fails where the newer one has set convolutions alone.
    """
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device or the processor had no memory left for a tensor."""
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in said or "can't allocate memory" in said)
    )
