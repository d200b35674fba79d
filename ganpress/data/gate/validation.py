"""The data gate: manifest, expectations, verdict."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ganpress.config.data_section import ValidateConfig
from ganpress.data.gate.drift import FormerVersion, drift_table
from ganpress.data.gate.expectations import Check, CheckResult, Table, checks, drift_checks, run_checks
from ganpress.data.gate.manifest import build_manifest
from ganpress.data.gate.validation_page import thumbnails, write_page
from ganpress.data.raw.raw_images import RawImages
from ganpress.errors import QualityGateFailed

if TYPE_CHECKING:
    import pandas as pd

NAMED_IN_MESSAGE = 3
Former = Callable[[str], FormerVersion | None]
"""Function that returns the version that passed before, given the source of the data."""


def no_former(_source: str) -> None:
    """Return None: there is no previous version."""


@dataclass(frozen=True)
class ValidationResult:
    """Verdict of the gate."""

    success: bool
    source: str
    counts: Mapping[str, int]
    """Images in each raw split."""
    class_counts: Mapping[str, int]
    """Training images of each class; empty for unlabelled data."""
    checks: tuple[CheckResult, ...]

    def metrics(self) -> dict[str, float]:
        """Figures for tracking: counts, and for each check the share of images that break its rule."""
        figures: dict[str, float] = {"images": sum(self.counts.values())}
        figures |= {f"{split}_images": count for split, count in self.counts.items()}
        figures["checks_failed"] = sum(not check.success for check in self.checks)
        figures |= {f"{one.name}_unexpected_fraction": one.unexpected / max(one.examined, 1) for one in self.checks}
        return figures

    def save(self, path: Path) -> None:
        """Write the verdict as JSON; equal data and thresholds give equal bytes."""
        path.write_text(json.dumps(asdict(self), indent=2, sort_keys=True) + "\n", encoding="utf-8")

    def require_success(self, where: Path) -> None:
        """Stop the chain if an expectation failed.

        Raises:
            QualityGateFailed: if so; the message names the failed checks and their first offending images; `where`
                lists all of them.
        """
        failed = [check for check in self.checks if not check.success]
        if failed:
            reasons = "; ".join(_reason(check) for check in failed)
            raise QualityGateFailed(
                f"data of {self.source} failed {len(failed)} of {len(self.checks)} checks: {reasons}. "
                f"See {where / 'summary.html'}; fix the data or the limits in params.yaml: validate"
            )


def _reason(check: CheckResult) -> str:
    if not check.offenders:
        return f"{check.name} (allowed: {check.limit}; found {check.examined} images)"
    named = ", ".join(check.offenders[:NAMED_IN_MESSAGE]) + (", …" if check.unexpected > NAMED_IN_MESSAGE else "")
    return f"{check.name} (allowed: {check.limit}; found {check.unexpected} of {check.examined}: {named})"


def validate_images(raw: RawImages, config: ValidateConfig, out: Path, former: Former = no_former) -> ValidationResult:
    """Check raw images; write `manifest.csv`, `validation.json` and `summary.html` below `out`, passed or failed.

    Args:
        raw: the images.
        config: the thresholds.
        out: a folder.
        former: returns the previous version of a source; called only if `max_drift` is set.
    """
    result = judge_manifest(build_manifest(raw, out / "manifest.csv"), raw.source, config, former)
    result.save(out / "validation.json")
    offenders = {name for check in result.checks if not check.success for name in check.offenders}
    write_page(out / "summary.html", result, thumbnails(raw, offenders))
    return result


def judge_manifest(
    manifest: "pd.DataFrame", source: str, config: ValidateConfig, former: Former = no_former
) -> ValidationResult:
    """Run every check on a manifest."""
    has_test, has_classes = what_is_there(manifest)
    images, classes = image_table(manifest), class_table(manifest)
    tables, planned = {"images": images, "classes": classes}, checks(config, has_test, has_classes)
    results = run_checks(*with_drift(tables, planned, manifest, source, config, former))
    return ValidationResult(
        success=all(one.success for one in results),
        source=source,
        counts=split_counts(manifest),
        class_counts=class_counts(classes),
        checks=tuple(results),
    )


def with_drift(
    tables: "dict[Table, pd.DataFrame]",
    planned: list[Check],
    manifest: "pd.DataFrame",
    source: str,
    config: ValidateConfig,
    former: Former,
) -> "tuple[dict[Table, pd.DataFrame], list[Check]]":
    """Add the comparison with the previous version, if there is one and `max_drift` is set."""
    before = former(source) if config.max_drift is not None else None
    if before is None or config.max_drift is None:
        return tables, planned
    return tables | {"drift": drift_table(manifest, before)}, planned + drift_checks(config.max_drift)


def what_is_there(manifest: "pd.DataFrame") -> tuple[bool, bool]:
    """Return whether there are train and test images, and whether there are classes."""
    splits = set(manifest["split"])
    return {"train", "test"} <= splits, bool(manifest["label"].notna().any())


def split_counts(manifest: "pd.DataFrame") -> dict[str, int]:
    """Count the images of each raw split."""
    return {str(split): int(count) for split, count in manifest["split"].value_counts().sort_index().items()}


def class_counts(classes: "pd.DataFrame") -> dict[str, int]:
    """Return the training images of each class from a `class_table`."""
    return dict(zip(classes["name"].astype(str), classes["train_images"].astype(int).tolist(), strict=True))


def image_table(manifest: "pd.DataFrame") -> "pd.DataFrame":
    """Add the columns of the checks: `flat`, and `leaked` (missing outside the test split)."""
    table = manifest.rename(columns={"path": "name"})
    table["path"] = table["name"]
    readable = table["decodes"]
    table["flat"] = (table["min"] == table["max"]).astype(object).where(readable, None)
    is_test = readable & (table["split"] == "test")
    train_pixels = table.loc[table["split"] == "train", "md5"].dropna()
    # The same picture in two classes teaches the judge that both are wrong.
    classes_of_equal = table.groupby("md5")["label"].transform("nunique")
    table["ambiguous"] = (classes_of_equal > 1).astype(object).where(readable & table["label"].notna(), None)
    table["leaked"] = table["md5"].isin(train_pixels).astype(object).where(is_test, None)
    return table


def class_table(manifest: "pd.DataFrame") -> "pd.DataFrame":
    """Return one row for each class: its training images, and their share relative to an even one."""
    import pandas as pd

    labels = manifest["label"].dropna()
    train = manifest.loc[manifest["split"] != "test", "label"].dropna()
    counts = train.value_counts().reindex(sorted(labels.unique()), fill_value=0)
    even = max(len(train), 1) / max(len(counts), 1)
    names = counts.index.astype(str)
    return pd.DataFrame({"name": names, "train_images": counts.to_numpy(), "relative_share": counts.to_numpy() / even})
