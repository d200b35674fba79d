"""What the hired libraries would report to their makers, and how each is told not to. Cannot change an output."""

import os
import sys

SWITCHED_OFF = {
    # MLflow takes only the word `true`, Prefect 1, true or yes; DVC's own library asks whether the next one is there.
    "DO_NOT_TRACK": "true",
    "ITERATIVE_DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # from 1.30 on ONNX Runtime reports from Linux, too; it reads this when it is loaded
}
"""Environment variables, of which each library reads its own; a value that the user set stays."""
REPORTERS = ("openvino_telemetry", "MNN.tools.utils.log")
"""Modules that do nothing but report. NNCF and OpenVINO send by theirs unless a file in the user's home says no, and
no variable switches that off; MNN's commands send what they convert, and install what that needs. Where the module is
absent, all go without."""


def switch_off() -> None:
    """Switch all of it off in this process and in those that it starts, before the libraries are loaded."""
    for name, value in SWITCHED_OFF.items():
        os.environ.setdefault(name, value)
    for name in REPORTERS:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # Python's own mark of a module that is not there
