"""Tracking with MLflow: one run for each stage, one model for each generator, one registered model for the edge files.
Only this package imports MLflow.

A stage writes a *journal* of plain events below `.ganpress/tracking/`; a *recorder* process plays journals into MLflow.
So a stage never imports MLflow, a tracking server that stops answering cannot break a training, and a journal whose
process has ended shows that its run was killed. Nothing here can change an output of a stage.

MLflow's asynchronous logging is not used: it keeps its queue in the memory of the logging process, so a killed process
loses it, and it drops records when the server fails. In the recorder, where no process waits for an answer, 2,000
metrics in batches took 0.16 s of processor time, and 1.3 s through that queue.

The names below are imported when they are first used: `ganpress status` only needs the store's address, and should not
import numpy and pydantic.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganpress.tracking.journal import StageRun, stage_run
    from ganpress.tracking.recorders import reconcile, record_pending, recording
    from ganpress.tracking.service import check_service, tracking_uri

MODULES = {
    "StageRun": "journal",
    "stage_run": "journal",
    "reconcile": "recorders",
    "record_pending": "recorders",
    "recording": "recorders",
    "check_service": "service",
    "tracking_uri": "service",
}

__all__ = ["StageRun", "check_service", "reconcile", "record_pending", "recording", "stage_run", "tracking_uri"]


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{MODULES[name]}"), name)
