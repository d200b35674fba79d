"""What was measured of sub-generators, on the disk at once, so that a killed search goes on."""

import json
import os
import threading
from pathlib import Path

from ganpress.files.plain_values import fit, parse_json
from models.elastic import Spec


class ScoreBook:
    """Measured values by spec and quantity; kept in a file of JSON lines when given a path.

    Every value is one line, appended in one write, so that threads and processes can share the file. A line that a
    kill cut short is left alone and its value measured again.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._values: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()
        if path is not None and path.exists():
            text = path.read_text(encoding="utf-8", errors="replace")
            for line in text.splitlines():
                self._read(line)
            if text and not text.endswith("\n"):
                self._append("\n")

    def get(self, spec: Spec, quantity: str) -> float | None:
        """The value of `quantity` (`score`, `latency_ms`) for `spec`, or None."""
        return self._values.get((spec.text, quantity))

    def add(self, spec: Spec, quantity: str, value: float) -> None:
        """Keep a value."""
        with self._lock:
            self._values[spec.text, quantity] = value
            if self._path is not None:
                self._append(json.dumps({"spec": spec.text, quantity: value}) + "\n")

    def count(self, quantity: str) -> int:
        """Specs of which `quantity` is known."""
        return sum(name == quantity for _, name in self._values)

    def discard(self) -> None:
        """Delete the file: the search has ended, and the next one measures anew."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _read(self, line: str) -> None:
        try:
            entry = fit(parse_json(line.encode()), dict[str, str | float], "a line")
            spec = fit(entry.pop("spec"), str, "'spec'")
            values = {(spec, quantity): float(fit(value, float, quantity)) for quantity, value in entry.items()}
        except (ValueError, KeyError):
            return
        self._values.update(values)

    def _append(self, text: str) -> None:
        assert self._path is not None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
