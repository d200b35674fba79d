"""`ganpress data add` and `ganpress data show`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ganpress.config.yaml_text import quoted
from ganpress.errors import ConfigError

if TYPE_CHECKING:
    from flows.data_source import DataPin
    from flows.fitting_settings import Setting
    from ganpress.data.raw.dataset_card import DatasetCard

data = typer.Typer(name="data", help="Raw images in data/, pinned by data.dvc.", no_args_is_help=True)


@data.command()
def add(
    source: Annotated[
        str,
        typer.Argument(
            help="Images: digits, mnist, fashion-mnist, cifar10, celeba, folder:<path>. Paired: edges2shoes, maps, "
            "facades, pairs:<path>, edges:<base>, superres:<base>. Unpaired: horse2zebra, unpaired:<path>, scenes, "
            "domains:<base>:<classes>:<classes>. Semantic: cityscapes, semantic:<path>, segments:<base>.",
            metavar="SOURCE",
        ),
    ],
    path: Annotated[
        Path | None,
        typer.Option(
            help="Local copy: a folder with the source's files at any depth, or its archive; default: download."
        ),
    ] = None,
    values: Annotated[
        str | None,
        typer.Option(
            help="For folder:<path>: the values of black and white in pictures of more than eight bits, e.g. 0:4095.",
            metavar="LOW:HIGH",
        ),
    ] = None,
    background: Annotated[
        str, typer.Option(help="For folder:<path>: the background of transparent pictures, white or black.")
    ] = "white",
) -> None:
    """Write a data set to data/, pin it with DVC, and set it in params.yaml, so that the next run uses it.

    After any failure, data/ and params.yaml are unchanged.
    """
    from flows.data_source import add_data
    from flows.environment import find_root
    from flows.params_file import data_values, set_values
    from ganpress.config.base import parse
    from ganpress.config.data_section import DataConfig

    root = find_root()
    _configured_source(root)  # An unreadable params.yaml is refused before data/ changes.
    given = {"source": source, "path": None if path is None else _seen_from(root, path), "background": background}
    asked = parse(given | ({} if values is None else {"values": _range(values)}), DataConfig, "data add")
    config = asked.model_copy(update={"source": _from_root(asked.source, root)})
    added = add_data(root, config)
    typer.echo(f"data/ holds {_counts(added.card.counts)} of {added.card.source}{_kind(added.card)}")
    for note in added.card.notes:
        typer.echo(f"note: {note}")
    same = added.former is not None and added.former.md5 == added.pin.md5
    size = f"{added.pin.files} files, {added.pin.size_bytes / 2**20:,.1f} MiB"
    typer.echo(f"data.dvc pins {size}, md5 {added.pin.md5} ({'as before' if same else 'new'})")
    for change in set_values(root, data_values(config)):
        typer.echo(change)
    if added.card.pairing is None:
        _fit_settings(root, added.card, added.former)
    else:
        typer.echo(f"note: {PAIRED_ADVICE[added.card.pairing]}")
    typer.echo("next: commit data.dvc and params.yaml with git, then `ganpress run`")


HELD_OUT = "prepare.validation_fraction"
PAIRED_ADVICE = {
    "paired": "params.yaml must set up training from pairs; start from the sections of recipes/emoji_pix2pix.yaml",
    "unpaired": "params.yaml must set up training between domains; start from the sections of "
    "recipes/scenes_cyclegan.yaml",
    "semantic": "params.yaml must set up training from label maps; start from the sections of "
    "recipes/labels2digits_spade.yaml",
}


def _fit_settings(root: Path, card: "DatasetCard", former: "DataPin | None") -> None:
    """Write the settings that follow from data/ into params.yaml, except those that the user has set, and print the
    reasons.
    """
    from flows.data_source import note_in_pin
    from flows.fitting_settings import fitting_settings, warnings
    from flows.params_file import read_values, set_values
    from ganpress.data.gate.survey import survey
    from ganpress.data.raw.raw_images import open_raw

    found = survey(open_raw(root / "data"), card)
    held_out = read_values(root, [HELD_OUT]).get(HELD_OUT)
    fitting = {one.key: one for one in fitting_settings(found, held_out if isinstance(held_out, float) else 0.0)}
    present = read_values(root, fitting)
    written = {} if former is None else former.settings
    # A value that no earlier `data add` wrote was set by the user.
    own = {key for key, value in present.items() if key not in written or written[key] != value}
    free = {key: one.value for key, one in fitting.items() if key not in own}
    set_values(root, free)
    note_in_pin(root, {"settings": free})
    _show_settings(list(fitting.values()), own, present)
    for warning in warnings(found):
        typer.echo(f"warning: {warning}")


def _show_settings(fitting: "list[Setting]", own: set[str], present: dict[str, object]) -> None:
    """Print each chosen value with its reason; a value that the user set is kept, and the fitting one is printed
    beside it.
    """
    typer.echo("settings that follow from the pictures (written to params.yaml; values that you set are kept):")
    for one in fitting:
        kept = one.key in own and present[one.key] != one.value
        value = f"{present[one.key]} is your value, {one.value} would fit" if kept else str(one.value)
        typer.echo(f"  {one.key:<32} {value:<24} {one.reason}")


@data.command()
def show() -> None:
    """Show what data/ holds, what data.dvc pins and what params.yaml asks for."""
    from flows.data_source import read_pin, run_dvc
    from flows.environment import find_root
    from ganpress.data.raw.dataset_card import read_card

    root = find_root()
    card, pin = read_card(root / "data"), read_pin(root)
    if card is None:
        typer.echo("data/ is empty; `ganpress run` fills it, or `ganpress data add SOURCE`")
    else:
        typer.echo(f"data/ holds {_counts(card.counts)} of {card.source}{_kind(card)}; {card.origin}")
    if pin is None:
        typer.echo("data.dvc is missing; `ganpress data add SOURCE` writes it")
    else:
        clean = card is not None and "data.dvc" not in run_dvc(root, "status", "data.dvc").stdout
        state = "data/ matches" if clean else "data/ differs from this or is missing"
        typer.echo(f"data.dvc pins {pin.source or 'data of unknown source'}, md5 {pin.md5}: {state}")
    typer.echo(f"params.yaml asks for {_configured_source(root)}")


def _range(text: str) -> list[float]:
    try:
        return [float(one) for one in text.split(":")]
    except ValueError:
        raise ConfigError(f"--values {quoted(text)} is not LOW:HIGH, two numbers, e.g. 0:4095") from None


def _from_root(source: str, root: Path) -> str:
    """Convert a relative path in a source from the working directory to the project's root."""
    from ganpress.data.raw.dataset_card import with_place

    return with_place(source, lambda path: _seen_from(root, Path(path)))


def _seen_from(root: Path, path: Path) -> str:
    place = path.expanduser().resolve()
    return str(place.relative_to(root) if place.is_relative_to(root) else place)


def _counts(counts: dict[str, int]) -> str:
    return " and ".join(f"{count:,} {split} images" for split, count in sorted(counts.items(), reverse=True))


def _kind(card: "DatasetCard") -> str:
    classes = f" in {len(card.classes)} classes" if card.classes else ", unlabelled"
    sources = {
        None: "",
        "paired": ", each with its source",
        "unpaired": ", with a source domain of its own",
        "semantic": f", each with a map of {len(card.label_names)} labels",
    }
    return classes + sources[card.pairing]


def _configured_source(root: Path) -> str:
    from ganpress.config.base import parse_section, read_yaml
    from ganpress.config.data_section import DataConfig

    return parse_section(read_yaml(root / "params.yaml"), "data", DataConfig, "params.yaml").source
