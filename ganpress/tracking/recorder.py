"""The recorder process: `python -m ganpress.tracking.recorder ROOT [--journal J | --follow | --reconcile | --prepare]`.

It runs while its standard input is open; at the end of file it records the remaining events and ends.
"""

import argparse
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ganpress.errors import GanpressError
from ganpress.tracking.events import EVENTS_FILE, JournalDamaged, journals_folder
from ganpress.tracking.recorders import DAMAGED, POLL_SECONDS

logger = logging.getLogger("ganpress")

LOCK_FILE = "lock"
STDIN = 0
READ_BYTES = 4096


def record_journal(root: Path, folder: Path, keep_following: Callable[[], bool]) -> None:
    """Play one journal until its end, while `keep_following()`; a journal that another recorder has locked is
    skipped.
    """
    from ganpress.tracking.backfill import mark_current
    from ganpress.tracking.model_registry import register_latest_edge_models
    from ganpress.tracking.player import JournalPlayer
    from ganpress.tracking.store import open_store

    with _held(folder) as held:
        if not held:
            return
        store = open_store(root)
        player = JournalPlayer(store, folder)
        while True:
            following = keep_following()
            player.play()
            if player.ended or not following:
                break
        if player.ended:
            player.remove()
        if player.finished_stage == "evaluate":
            mark_current(root, store)
        if player.finished_stage == "evaluate" or player.ended_stage == "gates":
            register_latest_edge_models(root, store, evaluated=True)


def record_all(root: Path) -> None:
    """Play all available events of all journals, parents before children; a journal that cannot be read is moved
    aside.
    """
    for folder in _journals(root):
        try:
            record_journal(root, folder, lambda: False)
        except JournalDamaged as error:
            aside = folder.parents[1] / DAMAGED / folder.name
            aside.parent.mkdir(exist_ok=True)
            folder.rename(aside)
            logger.warning("tracking: %s; it was moved to %s, and the outputs of its stage are kept", error, aside)


@contextmanager
def _held(folder: Path) -> Iterator[bool]:
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(blocking=False)
    except (Timeout, FileNotFoundError):
        yield False
        return
    try:
        yield (folder / EVENTS_FILE).exists()
    finally:
        lock.release()


def _journals(root: Path) -> list[Path]:
    folder = journals_folder(root)
    return sorted(entry for entry in folder.iterdir() if (entry / EVENTS_FILE).exists()) if folder.is_dir() else []


def _follow(root: Path, closed: threading.Event) -> None:
    """Record all journals while they grow; after the end of file, once more."""
    last = False
    while not last:
        last = closed.wait(POLL_SECONDS)
        record_all(root)


def _watch_input(closed: threading.Event) -> None:
    parent = os.getppid()
    # sys.stdin is not used: an interpreter that exits while a thread reads a buffered stream aborts, because it cannot
    # get the stream's lock.
    while os.read(STDIN, READ_BYTES):
        pass
    if os.getppid() != parent:
        os._exit(0)  # The parent died, so exit at once; the journals keep everything for the next recorder.
    closed.set()


def main() -> int:
    """Record, and return the exit code. This must never fail a stage: an error is one line, and the journals are
    kept.
    """
    parser = argparse.ArgumentParser(prog="ganpress.tracking.recorder")
    parser.add_argument("root", type=Path)
    parser.add_argument("--journal", type=Path)
    parser.add_argument("--follow", action="store_true")
    parser.add_argument("--reconcile", action="store_true")
    parser.add_argument("--prepare", action="store_true")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    closed = threading.Event()
    threading.Thread(target=_watch_input, args=(closed,), daemon=True).start()
    try:
        _work(arguments, closed)
    except GanpressError as error:
        logger.warning("tracking: %s; the journals in .ganpress/tracking keep the record", error)
        return 2
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else ""
        logger.warning("tracking: %s: %s; .ganpress/tracking keeps the record", type(error).__name__, reason)
        logger.debug("tracking failed", exc_info=True)
        return 1
    return 0


def _work(arguments: argparse.Namespace, closed: threading.Event) -> None:
    root: Path = arguments.root
    if arguments.prepare:
        from ganpress.tracking.store import open_store

        open_store(root)
    if arguments.journal is not None:
        record_journal(root, arguments.journal, lambda: not closed.wait(POLL_SECONDS))
        return
    if arguments.follow:
        _follow(root, closed)
    else:
        record_all(root)
    if arguments.reconcile:
        from ganpress.tracking.backfill import reconcile_store

        reconcile_store(root)


if __name__ == "__main__":
    raise SystemExit(main())
