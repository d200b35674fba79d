"""`ganpress targets`."""

import json

import typer

from flows.options import AsJson


def targets(as_json: AsJson = False) -> None:
    """List the edge targets: which of them are installed, in which version, and what they can write."""
    from ganpress.registries import TARGETS

    rows = {
        name: {
            "file": target.suffix,
            "devices": target.devices,
            "number_types": list(target.number_types),
            "runtime": None if target.missing() else target.version(),
            "install": target.missing(),
            "stand_in": target.stand_in or None,
        }
        for name, target in TARGETS.items()
    }
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for name, row in rows.items():
        state = row["runtime"] or f"not installed; run `{row['install']}`"
        instead = (
            f"; it cannot run here, so {row['stand_in']} verifies its files"
            if row["runtime"] and row["stand_in"]
            else ""
        )
        typer.echo(f"{name:<19}{row['file']:<16}{', '.join(TARGETS[name].number_types):<44}{state}{instead}")
