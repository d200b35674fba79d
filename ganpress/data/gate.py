"""The data gate's verdict, apart from the gate: a change of the gate's page is no change of what follows it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganpress.errors import DataError, QualityGateFailed


def require_passed_gate(path: Path) -> None:
    """Refuse data whose `validation.json` does not say that the gate was passed.

    Raises:
        DataError: if the file is missing or unreadable.
        QualityGateFailed: if the gate failed.
    """
    try:
        verdict: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        passed, failed = verdict["success"], [one["name"] for one in verdict["checks"] if not one["success"]]
    except FileNotFoundError:
        raise DataError(f"{path} is missing; run `dvc repro validate` or `ganpress run` first") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error!r}); run `dvc repro validate` again") from None
    if not passed:
        page = path.with_name("summary.html")
        raise QualityGateFailed(f"the data gate failed ({', '.join(failed)}); see {page}, mend it, validate again")
