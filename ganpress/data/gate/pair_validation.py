"""The data gate of conditional data: checks both sides and their correspondence."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganpress.config.data_section import ValidateConfig
from ganpress.data.gate.expectations import Table, checks, pair_checks, run_checks, source_checks
from ganpress.data.gate.manifest import build_pair_manifest
from ganpress.data.gate.validation import (
    Former,
    ValidationResult,
    class_counts,
    class_table,
    image_table,
    no_former,
    split_counts,
    validate_images,
    what_is_there,
    with_drift,
)
from ganpress.data.gate.validation_page import thumbnails, write_page
from ganpress.data.raw.raw_images import open_raw
from ganpress.data.raw.raw_pairs import RawPairs, integer_scale, open_raw_pairs, pair_id

if TYPE_CHECKING:
    import pandas as pd


def validate_data(folder: Path, config: ValidateConfig, out: Path, former: Former = no_former) -> ValidationResult:
    """Check the data below `folder`, either images alone or sources and targets; the arguments are those of
    `validate_images`.
    """
    pairs = open_raw_pairs(folder)
    if pairs is None:
        return validate_images(open_raw(folder), config, out, former)
    return validate_pairs(pairs, config, out, former)


def validate_pairs(raw: RawPairs, config: ValidateConfig, out: Path, former: Former = no_former) -> ValidationResult:
    """Check both sides; write `manifest.csv`, `validation.json` and `summary.html` below `out`, passed or failed."""
    result = judge_pairs(build_pair_manifest(raw, out / "manifest.csv"), raw, config, former)
    result.save(out / "validation.json")
    offenders = {name for check in result.checks if not check.success for name in check.offenders}
    pictures: dict[str, bytes] = {}
    for side, images in raw.sides():
        own = {name.removeprefix(f"{side}/") for name in offenders if name.startswith(f"{side}/")}
        pictures |= {f"{side}/{name}": content for name, content in thumbnails(images, own).items()}
    write_page(out / "summary.html", result, pictures)
    return result


def judge_pairs(
    manifest: "pd.DataFrame", raw: RawPairs, config: ValidateConfig, former: Former = no_former
) -> ValidationResult:
    """Run every check on a manifest of both sides; the checks of the targets have the names of unconditional data."""
    source, target = (manifest[manifest["side"] == side] for side in ("source", "target"))
    classes = class_table(target)
    tables: dict[Table, pd.DataFrame] = {
        "images": image_table(target),
        "classes": classes,
        "source_images": image_table(source),
        "source_classes": class_table(source),
    }
    planned = checks(config, *what_is_there(target))
    planned += source_checks(config, raw.pairing, len(raw.label_names), *what_is_there(source))
    if raw.paired:
        tables["pairs"] = _pair_table(source, target)
        planned += pair_checks()
    results = run_checks(*with_drift(tables, planned, manifest, raw.name, config, former))
    return ValidationResult(
        success=all(one.success for one in results),
        source=raw.name,
        counts=split_counts(target) | {f"source_{split}": count for split, count in split_counts(source).items()},
        class_counts=class_counts(classes),
        checks=tuple(results),
    )


def _pair_table(source: "pd.DataFrame", target: "pd.DataFrame") -> "pd.DataFrame":
    """Return one row for each id: `complete` (both sides have it once) and `fits` (sizes; missing where a side can't
    be read).
    """
    import pandas as pd

    sides = {}
    for side, rows in (("source", source), ("target", target)):
        ids = rows["path"].str.removeprefix(f"{side}/").map(pair_id)
        facts = pd.DataFrame({"id": ids, "height": rows["height"], "width": rows["width"]})
        sides[side] = facts.groupby("id").agg(
            count=("height", "size"), height=("height", "first"), width=("width", "first")
        )
    both = sides["source"].add_suffix("_source").join(sides["target"].add_suffix("_target"), how="outer")
    table = [_pair_row(one) for one in both.reset_index().itertuples(index=False)]
    return pd.DataFrame(table, columns=["name", "complete", "fits"]).astype({"fits": object})


def _pair_row(pair: Any) -> tuple[str, bool, bool | None]:
    """Return (name that says what is wrong, whether both exist, whether their sizes fit)."""
    import pandas as pd

    for side, count in (("source", pair.count_source), ("target", pair.count_target)):
        if pd.isna(count) or count != 1:
            return f"{pair.id} ({'no' if pd.isna(count) else int(count)} {side})", False, None
    sizes = (pair.height_source, pair.width_source, pair.height_target, pair.width_target)
    if any(pd.isna(size) for size in sizes):
        return pair.id, True, None
    height, width, other_height, other_width = (int(size) for size in sizes)
    if integer_scale((height, width), (other_height, other_width)) is None:
        return f"{pair.id} (source {height}x{width}, target {other_height}x{other_width})", True, False
    return pair.id, True, True
