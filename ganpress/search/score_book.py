"""Keeps the measurements of sub-generators or levels on disk, so that a killed stage can continue."""

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from ganpress.files.plain_values import fit, parse_json


class Named(Protocol):
    """An object of a measurement: a sub-generator's spec or a compression level."""

    @property
    def text(self) -> str:
        """Its name in the book."""


class ScoreBook:
    """Measured values by name and quantity; kept in a file of JSON lines when given a path.

    What is added together is one line, appended in one write, so that threads and processes can share the file. An
    incomplete line of a killed process is ignored and its values are measured again.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._values: dict[str, dict[str, float]] = {}
        self._lock = threading.Lock()
        if path is not None and path.exists():
            text = path.read_text(encoding="utf-8", errors="replace")
            for line in text.splitlines():
                self._read(line)
            if text and not text.endswith("\n"):
                self._append("\n")

    def get(self, one: Named, quantity: str) -> float | None:
        """The value of `quantity` (`score`, `latency_ms`) for a spec or level, or None."""
        return self._values.get(one.text, {}).get(quantity)

    def of(self, one: Named) -> Mapping[str, float]:
        """Return all values of a spec or level by quantity; empty if it was not measured."""
        return self._values.get(one.text, {})

    def add(self, one: Named, quantity: str, value: float) -> None:
        """Keep a value."""
        self.add_all(one, {quantity: value})

    def add_all(self, one: Named, values: Mapping[str, float]) -> None:
        """Keep several values together, in one write."""
        with self._lock:
            self._values.setdefault(one.text, {}).update(values)
            if self._path is not None:
                self._append(json.dumps({"spec": one.text, **values}) + "\n")

    def count(self, quantity: str) -> int:
        """Specs or levels of which `quantity` is known."""
        return sum(quantity in values for values in self._values.values())

    def discard(self) -> None:
        """Delete the file at the end of a search; the next search measures again."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _read(self, line: str) -> None:
        try:
            entry = fit(parse_json(line.encode()), dict[str, str | int | float], "a line")
            name = fit(entry.pop("spec"), str, "'spec'")
            values = {quantity: fit(value, int | float, quantity) for quantity, value in entry.items()}
        except (ValueError, KeyError):
            return
        self._values.setdefault(name, {}).update(values)

    def _append(self, text: str) -> None:
        assert self._path is not None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
