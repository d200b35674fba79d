"""Disables the telemetry of the libraries used. This cannot change an output."""

import os
import sys

SWITCHED_OFF = {
    # MLflow accepts only `true`; Prefect accepts 1, true or yes; DVC's library only checks that the next variable is
    # set.
    "DO_NOT_TRACK": "true",
    "ITERATIVE_DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # read at load by ONNX Runtime 1.30 and later, also on Linux
}
"""Environment variables that disable telemetry in each library; a value that the user set is kept."""
REPORTERS = ("openvino_telemetry", "MNN.tools.utils.log")
"""Modules that only send telemetry. NNCF and OpenVINO send unless a file in the user's home forbids it, and no
variable disables that; MNN's commands report each conversion, and install packages for it. All of them work without
these modules."""


def switch_off() -> None:
    """Disable all telemetry in this process and in its children, before the libraries are loaded."""
    for name, value in SWITCHED_OFF.items():
        os.environ.setdefault(name, value)
    for name in REPORTERS:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # Python's own mark of a module that is not there
