"""The verdict of the gates on the last evaluation, which is written with the report and enforced by the stage
`gates`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganpress.errors import DataError, shown
from ganpress.files.plain_values import read_json
from ganpress.metrics.evaluated import METRICS

VERDICT = Path("artifacts/report/verdict.json")
"""Path of the verdict, relative to the project's root."""


@dataclass(frozen=True)
class GateVerdict:
    """The limits that measured results were held to."""

    evaluated: str
    """md5 of the metrics that were judged."""
    judged: int
    """Number of gates; 0 where params.yaml sets none."""
    failed: tuple[str, ...] = ()
    """A sentence for each gate that was not passed."""
    warned: tuple[str, ...] = ()
    """A sentence for each gate that only warns and was not passed."""

    @property
    def sentence(self) -> str | None:
        """The failures in one line; None if nothing failed."""
        if not self.failed:
            return None
        return f"{len(self.failed)} of {self.judged} gates failed: {'; '.join(self.failed)}"

    def save(self, path: Path, checks: Sequence[Mapping[str, Any]]) -> None:
        """Write it with all that was found; equal results give equal bytes."""
        content = {
            "evaluated": self.evaluated,
            "judged": self.judged,
            "failed": self.failed,
            "warned": self.warned,
            "checks": checks,
        }
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def metrics_digest(root: Path) -> str:
    """The md5 of what was evaluated last."""
    return hashlib.md5((root / METRICS).read_bytes(), usedforsecurity=False).hexdigest()


def read_verdict(root: Path) -> GateVerdict | None:
    """Return what the gates say of the last evaluation; None where they did not judge it yet.

    Raises:
        DataError: if the file is damaged.
    """
    path = root / VERDICT
    if not path.is_file() or not (root / METRICS).is_file():
        return None
    try:
        found = read_json(path)
        sentences = (tuple(str(one) for one in found[key]) for key in ("failed", "warned"))
        verdict = GateVerdict(str(found["evaluated"]), int(found["judged"]), *sentences)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = shown(error) if isinstance(error, ValueError) else "a field is missing or wrong"
        raise DataError(f"{path} is damaged ({reason}); run `dvc repro report` again") from None
    return verdict if verdict.evaluated == metrics_digest(root) else None
