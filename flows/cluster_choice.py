"""Chooses the cluster that runs the stages, before the first of them starts and without importing Ray."""

import os

from ganpress.basics.ray_cluster import ENVIRONMENT, LOCAL, check_address, require_ray
from ganpress.errors import ConfigError


def settle_cluster(option: str | None = None) -> str | None:
    """Return the address of a run's cluster and set `GANPRESS_CLUSTER` for the flow; None means this machine.

    Args:
        option: value of `--cluster`; None takes the environment's.

    Raises:
        ConfigError: if the value is not an address, or Ray is not installed.
    """
    asked = option or os.environ.get(ENVIRONMENT)
    if not asked:
        return None
    if asked != LOCAL:
        check_address(asked, ENVIRONMENT if option is None else "--cluster")
    require_ray()
    os.environ[ENVIRONMENT] = asked
    return asked


def refuse_devices(device: str | None, gpus: int | None) -> None:
    """Refuse options about this machine if a cluster runs the stages.

    Raises:
        ConfigError: if one is given; the message names it.
    """
    for name, value in (("--device", device), ("--gpus", gpus)):
        if value is not None:
            raise ConfigError(
                f"{name} applies to this machine, but a cluster runs the stages; set what each needs in params.yaml, "
                "for example --set resources.candidate.gpus=1"
            )
