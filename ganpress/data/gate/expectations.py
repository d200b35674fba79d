"""Checks with Great Expectations: the checks of the data gate, and the function that runs any checks."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ganpress.config.data_section import ValidateConfig
from ganpress.data.raw.dataset_card import Pairing

if TYPE_CHECKING:
    import pandas as pd

MAX_OFFENDERS = 1000
Table = str
"""Name of a table; those of the data are images, classes, source_images, source_classes, pairs and drift."""


@dataclass(frozen=True)
class Check:
    """One expectation on one column of one table."""

    name: str
    table: Table
    expectation: str
    """Class name in `great_expectations.expectations`."""
    arguments: Mapping[str, Any]
    limit: str
    """The limit in words."""


@dataclass(frozen=True)
class CheckResult:
    """Result of Great Expectations."""

    name: str
    success: bool
    limit: str
    examined: int
    """Rows with a value."""
    unexpected: int
    """Number of rows that break the rule; some may be allowed."""
    offenders: tuple[str, ...]
    """Images (or classes) of these rows, at most 1000."""
    expectation: Mapping[str, Any]
    """Type and arguments of the expectation in Great Expectations."""


def checks(config: ValidateConfig, has_test: bool, has_classes: bool) -> list[Check]:
    """Return the checks of the gate; leakage needs a test split, class balance needs labels."""
    size = {"min_value": config.min_size}
    found = [
        Check("image_count", "images", "ExpectTableRowCountToBeBetween", {"min_value": config.min_images},
              f"at least {config.min_images} images"),
        Check("unique_paths", "images", "ExpectColumnValuesToBeUnique", {"column": "path"}, "each name once"),
        Check("decodes", "images", "ExpectColumnValuesToBeInSet", {"column": "decodes", "value_set": [True]},
              "every image can be read"),
        Check("width", "images", "ExpectColumnValuesToBeBetween", {"column": "width"} | size,
              f"at least {config.min_size} pixels"),
        Check("height", "images", "ExpectColumnValuesToBeBetween", {"column": "height"} | size,
              f"at least {config.min_size} pixels"),
        Check("channels", "images", "ExpectColumnValuesToBeInSet",
              {"column": "channels", "value_set": list(config.channels)}, f"one of {list(config.channels)}"),
        Check("duplicates", "images", "ExpectColumnValuesToBeUnique",
              {"column": "md5"} | _tolerating(config.max_duplicate_fraction),
              f"at most {config.max_duplicate_fraction:.4g} of the images equal another one"),
        Check("flat_images", "images", "ExpectColumnValuesToBeInSet",
              {"column": "flat", "value_set": [False]} | _tolerating(config.max_flat_fraction),
              f"at most {config.max_flat_fraction:.4g} of the images are of one grey level"),
    ]  # fmt: skip
    if has_test:
        arguments = {"column": "leaked", "value_set": [False]} | _tolerating(config.max_leaked_fraction)
        limit = f"at most {config.max_leaked_fraction:.4g} of the test images occur in train"
        found.append(Check("leakage", "images", "ExpectColumnValuesToBeInSet", arguments, limit))
    if has_classes:
        one_class = {"column": "ambiguous", "value_set": [False]} | _tolerating(config.max_duplicate_fraction)
        limit = f"at most {config.max_duplicate_fraction:.4g} of the images equal one of another class"
        found.append(Check("one_class_each", "images", "ExpectColumnValuesToBeInSet", one_class, limit))
        arguments = {"column": "relative_share", "min_value": config.min_class_share}
        limit = f"every class has at least {config.min_class_share:.4g} of an even share of the training images"
        found.append(Check("class_balance", "classes", "ExpectColumnValuesToBeBetween", arguments, limit))
    return found


OF_EVERY_SOURCE = frozenset({"image_count", "unique_paths", "decodes", "width", "height", "channels"})
"""Checks that also apply to sources with targets; others do not, because many label maps or edge maps may be equal or
empty."""


def source_checks(
    config: ValidateConfig, pairing: Pairing, classes: int, has_test: bool, has_classes: bool
) -> list[Check]:
    """Return the checks of the sources: all of `checks` for a separate domain, else those of the files and ids.

    Args:
        config: the thresholds.
        pairing: how sources and targets belong together.
        classes: number of label classes of semantic data.
        has_test: whether the sources have a test split.
        has_classes: whether the sources are labelled.
    """
    allowed = (1,) if pairing == "semantic" else config.source_channels or config.channels
    own = config.model_copy(update={"channels": allowed})
    planned = checks(own, has_test, has_classes)
    tables: dict[Table, Table] = {"images": "source_images", "classes": "source_classes"}
    found = [
        replace(check, name=f"source_{check.name}", table=tables[check.table])
        for check in planned
        if pairing == "unpaired" or check.name in OF_EVERY_SOURCE
    ]
    if pairing == "semantic":
        arguments = {"column": "highest_id", "max_value": classes - 1}
        limit = f"label ids 0 to {classes - 1}, or 255: ignored"
        found.append(Check("label_ids", "source_images", "ExpectColumnValuesToBeBetween", arguments, limit))
    return found


def drift_checks(max_drift: float) -> list[Check]:
    """Return the check that a new version of the data is similar to the previous one (table `drift`)."""
    limit = f"at most {max_drift:.4g} away from the former version of the data"
    return [
        Check("drift", "drift", "ExpectColumnValuesToBeBetween", {"column": "found", "max_value": max_drift}, limit)
    ]


def pair_checks() -> list[Check]:
    """Return the checks that sources and targets belong together."""
    return [
        Check("pair_ids", "pairs", "ExpectColumnValuesToBeInSet", {"column": "complete", "value_set": [True]},
              "every source has one target of the same name, and every target one source"),
        Check("pair_sizes", "pairs", "ExpectColumnValuesToBeInSet", {"column": "fits", "value_set": [True]},
              "a source and its target are of equal size, or one is a whole number of times as large"),
    ]  # fmt: skip


def _tolerating(fraction: float) -> dict[str, float]:
    """Return the share that must keep the rule, minus a tiny tolerance, so that exactly the allowed share passes."""
    return {"mostly": 1.0 if fraction == 0 else max(0.0, 1 - fraction - 1e-9)}


def run_checks(tables: "Mapping[Table, pd.DataFrame]", planned: list[Check]) -> list[CheckResult]:
    """Check tables, whose column `name` names the rows, with Great Expectations, offline and in memory only."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations as gx
    import great_expectations.expectations as expectations

    # It sets its log level to INFO when imported, and logs a folder that it then deletes.
    logging.getLogger("great_expectations").setLevel(logging.WARNING)  # At INFO it logs its own progress.

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("ganpress")
    results = []
    for table, frame in tables.items():
        own = [check for check in planned if check.table == table]
        if not own:
            continue
        definition = source.add_dataframe_asset(table).add_batch_definition_whole_dataframe("all")
        batch = definition.get_batch(batch_parameters={"dataframe": frame})
        suite = gx.ExpectationSuite(table)
        for check in own:
            suite.add_expectation(getattr(expectations, check.expectation)(**check.arguments, notes=check.name))
        form = {"result_format": "COMPLETE", "unexpected_index_column_names": ["name"]}
        judged = batch.validate(suite, result_format=form).to_json_dict()["results"]
        by_name = {one["expectation_config"]["notes"]: one for one in judged}
        results += [_result(check, by_name[check.name], len(frame)) for check in own]
    return results


def _result(check: Check, judged: Mapping[str, Any], rows: int) -> CheckResult:
    raised = judged["exception_info"].get("exception_message")
    if raised:
        raise RuntimeError(f"Great Expectations could not run '{check.name}': {raised}")
    found = judged["result"]
    arguments = {key: value for key, value in judged["expectation_config"]["kwargs"].items() if key != "batch_id"}
    # Rows of duplicates belong together: sorted by the value, then by name.
    column = str(check.arguments.get("column", "name"))
    pairs = sorted((str(one[column]), str(one["name"])) for one in found.get("unexpected_index_list") or [])
    return CheckResult(
        name=check.name,
        success=bool(judged["success"]),
        limit=check.limit,
        examined=int(found.get("element_count", rows)) - int(found.get("missing_count", 0)),
        unexpected=int(found.get("unexpected_count", 0)),
        offenders=tuple(name for _, name in pairs[:MAX_OFFENDERS]),
        expectation={"type": judged["expectation_config"]["type"], "kwargs": arguments},
    )
