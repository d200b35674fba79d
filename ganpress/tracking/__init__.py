"""MLflow: a run a stage, a model a generator, a registered model for the edge files. The only package that knows it.

A stage writes a *journal* of plain events below `.ganpress/tracking/`; a *recorder* process plays journals into MLflow.
So a stage never pays for importing MLflow, training cannot be broken by a tracking server that falls silent, and a
journal whose process is gone tells that its run was killed. Nothing here can change an output of a stage.

By hand: MLflow's asynchronous logging keeps its queue in the memory of the process that logs, so a killed one loses it,
and drops what a dead server refuses. In the recorder, where nobody waits for an answer, 2,000 metrics in batches took
0.16 s of processor time, and 1.3 s through that queue.

The names below are imported when they are first used: `ganpress status` only asks where the store is, and must not pay
for numpy and pydantic.
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
