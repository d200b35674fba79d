"""The pins of this project: the functions that its `imported/<name>/import.json` name, and digests of their sources."""

from collections.abc import Iterator
from pathlib import Path

from ganpress.errors import CheckpointError
from ganpress.files.plain_values import read_json
from models.factory_pins import Sources, check_pins, pin_factory, refusal, sources_of
from models.user_modules import WORKTREES, split_factory

FOLDER, CARD = "imported", "import.json"
LARGEST_CARD_BYTES = 16 * 2**20
MOST_CARDS = 1_000


def allow_factory(factory: str) -> None:
    """Allow this process to load model files that `module:function` builds, with its present sources.

    Use this in your own programs that load a model file outside its project; the code of the module runs with the next
    file that names it, so allow only code that you trust. In a project `ganpress import` allows it permanently.

    Raises:
        ValueError: if the text is malformed or the module has no source file.
    """
    pin_factory(factory, sources_of(factory))


def admit_factory(factory: str, origin: str) -> None:
    """Check that a function that a model file names is pinned and unchanged; nothing of it is imported here.

    Args:
        factory: `module:function`.
        origin: name of the file in messages.

    Raises:
        CheckpointError: if it is not.
    """
    try:
        split_factory(factory)
        for sources in _pins(factory):
            pin_factory(factory, sources)
        reason = check_pins(factory)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{origin} cannot be rebuilt: {error}") from None
    if reason is not None:
        raise CheckpointError(f"{origin} cannot be rebuilt: {refusal(factory, reason)}")


def _pins(factory: str) -> Iterator[Sources]:
    """Return the pin of a function from the cards of the project around the working directory."""
    for root in _roots(Path.cwd()):
        for path in sorted((root / FOLDER).glob(f"[!.]*/{CARD}"))[:MOST_CARDS]:
            try:
                card = read_json(path, LARGEST_CARD_BYTES)
            except (OSError, ValueError):
                continue  # `ganpress.imported.import_card` says so to who asks for this one
            if isinstance(card, dict) and card.get("source") == factory:
                sources = card_sources(factory, card.get("source_sha256"), card.get("modules"))
                if sources is not None:
                    yield sources


def card_sources(factory: str, digest: object, modules: object) -> Sources | None:
    """Return the pin on a card; cards of earlier versions have the digest of one file."""
    if isinstance(modules, dict) and modules:
        return {str(name): str(one) for name, one in modules.items()}
    return {split_factory(factory)[0]: digest} if isinstance(digest, str) else None


def _roots(here: Path) -> Iterator[Path]:
    """The working directory, the project that it lies in, and the project's own folder where it is a worktree of it."""
    yield here
    root = next((folder for folder in (here, *here.parents) if (folder / "dvc.yaml").is_file()), None)
    if root is None:
        return
    if root != here:
        yield root
    if root.parent.parts[-2:] == WORKTREES:
        yield root.parents[2]
