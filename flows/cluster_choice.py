"""Which cluster runs the stages: settled before the first of them starts, and without importing Ray."""

import os

from ganpress.basics.ray_cluster import ENVIRONMENT, LOCAL, check_address, require_ray
from ganpress.errors import ConfigError


def settle_cluster(option: str | None = None) -> str | None:
    """Return the address of the cluster of a run, and hand it to the flow as `GANPRESS_CLUSTER`; None: this machine.

    Args:
        option: what `--cluster` says; None leaves it to the environment.

    Raises:
        ConfigError: if it is no address, or Ray is not installed.
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
    """Refuse options that are about this machine, where a cluster runs the stages.

    Raises:
        ConfigError: naming the option.
    """
    for name, value in (("--device", device), ("--gpus", gpus)):
        if value is not None:
            raise ConfigError(
                f"{name} is about this machine, and a cluster runs the stages; say what each needs in params.yaml, "
                "for example --set resources.candidate.gpus=1"
            )
