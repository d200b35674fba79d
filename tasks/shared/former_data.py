"""Reads the version of the data that last passed the gate, which dvc.lock records, from DVC's cache."""

import functools
import logging
from typing import TYPE_CHECKING

from ganpress.data.gate.drift import FormerVersion
from ganpress.data.gate.manifest import read_manifest
from ganpress.errors import DataError
from ganpress.files.dvc_files import cached_copy, locked_outs
from ganpress.files.plain_values import read_json
from tasks.shared.stage import Stage

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger("ganpress")


def former_version(stage: Stage, source: str) -> FormerVersion | None:
    """Return the last version of the data that passed; None if there is none of the same source.

    It is the version in the present dvc.lock, which in a fresh clone is that of the last commit.

    Args:
        stage: `validate`.
        source: source of the present data; data of another source is not a version of it.
    """
    outs = locked_outs(stage.root, stage.name)
    files = [
        cached_copy(stage.root, md5)
        for name in ("validation.json", "manifest.csv")
        if (md5 := outs.get(f"artifacts/validate/{name}")) is not None
    ]
    if len(files) < 2 or None in files:
        logger.info("drift: no previous version of the data is available, so there is nothing to compare with")
        return None
    verdict, manifest = files
    assert verdict is not None and manifest is not None  # noqa: PT018 (for the types)
    try:
        if read_json(verdict).get("source") == source:
            return FormerVersion(read_manifest(manifest), functools.partial(_features_distance, stage, source))
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"DVC's copy of the previous manifest is damaged ({error}); run `dvc fetch validate`") from None
    logger.info("drift: the previous data was from another source, so it is not compared")
    return None


def _features_distance(stage: Stage, source: str, manifest: "pd.DataFrame") -> float | None:
    from tasks.shared.former_judge import features_distance  # It imports torch.

    return features_distance(stage, source, manifest)
