"""Chooses the device of a run's stages and the number of training ranks before the first stage starts."""

import os
import sys
from pathlib import Path

SIGNS_OF_A_GPU = (Path("/dev/nvidiactl"), Path("/dev/nvidia0"), Path("/dev/dxg"), Path("/dev/kfd"))
"""Device files of NVIDIA's and AMD's drivers. They are checked first because importing torch takes a second."""


def settle_device(option: str | None = None) -> str:
    """Choose the device of a run's stages, and pass it to them as `GANPRESS_DEVICE`.

    Args:
        option: value of `--device`; None takes the environment's, and `auto` what the machine has.

    Returns:
        The device with its name, as the first line of a run prints it.

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
    """Return the number of ranks of each training stage, and pass it to the stages as `GANPRESS_GPUS`.

    Args:
        gpus: value of `--gpus`; None takes the environment's.

    Raises:
        ConfigError: if there are fewer GPUs, or the chosen device cannot run several ranks.
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
