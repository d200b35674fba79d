"""Which device the stages of a run use, and how many ranks train: settled and said before the first of them starts."""

import os
import sys
from pathlib import Path

SIGNS_OF_A_GPU = (Path("/dev/nvidiactl"), Path("/dev/nvidia0"), Path("/dev/dxg"), Path("/dev/kfd"))
"""Where the drivers of NVIDIA and AMD show themselves; torch, which knows better, takes a second to import."""


def settle_device(option: str | None = None) -> str:
    """Name the device of a run's stages, and hand it to them as `GANPRESS_DEVICE`.

    Args:
        option: what `--device` says; None leaves it to the environment, and `auto` to the machine.

    Returns:
        The device with its name, as a run's first line says it.

    Raises:
        ConfigError: if there is no such device.
    """
    asked = option or os.environ.get("GANPRESS_DEVICE") or "auto"
    if asked == "auto" and not _may_have_gpu():
        asked = "cpu"
    if asked != "cpu":
        from ganpress.basics.device import chosen_device, described

        device = chosen_device(asked, "GANPRESS_DEVICE" if option is None else "--device")
        os.environ["GANPRESS_DEVICE"] = str(device)
        return described(device)
    os.environ["GANPRESS_DEVICE"] = asked
    return asked


def settle_ranks(gpus: int | None = None) -> int:
    """Return how many ranks each training stage has, and hand the number to the stages as `GANPRESS_GPUS`.

    Args:
        gpus: what `--gpus` says; None leaves it to the environment.

    Raises:
        ConfigError: if there are fewer GPUs, or the settled device has no ranks of this kind.
    """
    if gpus is None and not (os.environ.get("GANPRESS_GPUS") or os.environ.get("GANPRESS_RANKS")):
        return 1
    from ganpress.basics.device import chosen_device
    from ganpress.basics.ranks import chosen_ranks

    ranks = chosen_ranks(chosen_device(), gpus)
    if gpus is not None:
        os.environ["GANPRESS_GPUS"] = str(gpus)
    return ranks


def _may_have_gpu() -> bool:
    return sys.platform == "darwin" or any(sign.exists() for sign in SIGNS_OF_A_GPU)
