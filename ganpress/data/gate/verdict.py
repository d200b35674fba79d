"""Reads the gate's verdict. It is a separate module, so that edits of the gate's page do not invalidate training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganpress.errors import DataError, QualityGateFailed, shown
from ganpress.files.plain_values import read_json


def require_passed_gate(path: Path) -> None:
    """Refuse data whose `validation.json` does not say that the gate was passed.

    Raises:
        DataError: if the file is missing or unreadable.
        QualityGateFailed: if the gate failed.
    """
    try:
        verdict: Mapping[str, Any] = read_json(path)
        passed = verdict["success"] is True
        failed = [shown(one["name"]) for one in verdict["checks"] if not one["success"]]
    except FileNotFoundError:
        raise DataError(f"{path} is missing; run `dvc repro validate` or `ganpress run` first") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = shown(error) if isinstance(error, ValueError) else "a field is missing or wrong"
        raise DataError(f"{path} is damaged ({reason}); run `dvc repro validate` again") from None
    if not passed:
        page = path.with_name("summary.html")
        raise QualityGateFailed(
            f"the data gate failed ({', '.join(failed)}); see {page}, fix the data, and validate again"
        )
