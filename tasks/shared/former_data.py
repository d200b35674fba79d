"""The version of the data that passed the gate before: the manifest that dvc.lock records, out of DVC's cache."""

import logging
from typing import TYPE_CHECKING

from ganpress.data.gate.manifest import read_manifest
from ganpress.errors import DataError
from ganpress.files.dvc_files import cached_copy, locked_outs
from ganpress.files.plain_values import read_json
from tasks.shared.stage import Stage

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger("ganpress")


def former_manifest(stage: Stage, source: str) -> "pd.DataFrame | None":
    """Return the manifest of the last version that passed; None where there is none of the same source.

    It is the version of the dvc.lock that lies here, so that of the last commit in a colleague's fresh clone.

    Args:
        stage: `validate`.
        source: of the data that is judged now: those of another source are not a version of it.
    """
    outs = locked_outs(stage.root, stage.name)
    files = [
        cached_copy(stage.root, md5)
        for name in ("validation.json", "manifest.csv")
        if (md5 := outs.get(f"artifacts/validate/{name}")) is not None
    ]
    if len(files) < 2 or None in files:
        logger.info("drift: no former version of the data is at hand, so there is nothing to compare it with")
        return None
    verdict, manifest = files
    assert verdict is not None and manifest is not None  # noqa: PT018 (for the types)
    try:
        if read_json(verdict).get("source") == source:
            return read_manifest(manifest)
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"DVC's copy of the former manifest is damaged ({error}); `dvc fetch validate`") from None
    logger.info("drift: the data before was of another source, so it is not compared")
    return None
