"""MLflow: a run a stage, a model a generator, a registered model for the edge files. The only package that knows it.

A stage writes a *journal* of plain events below `.ganpress/tracking/`; a *recorder* process plays journals into MLflow.
So a stage never pays for importing MLflow, training cannot be broken by a tracking server that falls silent, and a
journal whose process is gone tells that its run was killed. Nothing here can change an output of a stage.
"""

from ganpress.tracking.journal import StageRun, stage_run
from ganpress.tracking.recorders import reconcile, record_pending, recording
from ganpress.tracking.service import check_service, tracking_uri

__all__ = ["StageRun", "check_service", "reconcile", "record_pending", "recording", "stage_run", "tracking_uri"]
