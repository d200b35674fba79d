"""A table of the latencies of single layers in a runtime, from which a network's latency is predicted without running
the network.

As in hardware-aware architecture search (Cai et al. 2019, "ProxylessNAS", section 3.3): each distinct layer shape is
timed once as a separate network, and a network's latency is predicted from the sum of its layers'.
"""

import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ganpress.basics.seeding import torch_generator
from ganpress.files.plain_values import fit, parse_json
from ganpress.metrics.scoring import Generate
from ganpress.performance.latency import measure_latency
from ganpress.search.layer_runs import IDLE, Layer, LayerNetwork

Deploy = Callable[[nn.Module, Tensor], Generate]
"""Function that loads a network in eval mode into a runtime with one thread; the tensor is an example of its inputs
(1, …)."""

SIDE_BY_SIDE = 16
"""Number of layers that are timed in turn, so that other load on the machine affects all of them equally."""

logger = logging.getLogger(__name__)


class LatencyTable:
    """Milliseconds of each layer for one sample, beyond those of a network that does nothing.

    Args:
        deploy: puts a layer, a `LayerNetwork`, into the runtime.
        rounds: number of timed calls of each layer; the fastest counts, because other load can only slow a call down.
        path: file of JSON lines that measured layers are kept in, so that the next search finds them; it must belong to
            one machine, one runtime and one number of rounds. None keeps nothing.
    """

    def __init__(self, deploy: Deploy, rounds: int, path: Path | None = None) -> None:
        self._deploy, self._rounds, self._path = deploy, rounds, path
        self._known: dict[str, float] = {}
        self.measured = 0
        """Layers that this object has timed."""
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                self._read(line)

    def __len__(self) -> int:
        return len(self._known)

    def milliseconds(self, layer: Layer) -> float:
        """Time of a layer, at least 0; measured when it is asked for the first time.

        Raises:
            GanpressError: if the runtime cannot run the layer.
        """
        self.fill([layer])
        return self._known[layer.key]

    def fill(self, layers: Iterable[Layer]) -> None:
        """Measure the layers that are not known yet, some of them side by side.

        Raises:
            GanpressError: if the runtime cannot run a layer.
        """
        wanted = list({layer.key: layer for layer in layers if layer.key not in self._known}.values())
        for start in range(0, len(wanted), SIDE_BY_SIDE):
            idle, *times = self._time([IDLE, *wanted[start : start + SIDE_BY_SIDE]])
            for layer, milliseconds in zip(wanted[start:], times, strict=False):
                self._keep(layer.key, max(0.0, milliseconds - idle))

    def _time(self, layers: Sequence[Layer]) -> list[float]:
        """Milliseconds of a call of each layer, timed in turn."""
        runners = {layer.key: self._runner(layer) for layer in layers}
        timed = measure_latency(runners, torch.empty(1), self._rounds)
        return [timed[layer.key].least_ms for layer in layers]

    def _runner(self, layer: Layer) -> Generate:
        network = LayerNetwork(layer, torch_generator(0, "latency table", layer.key)).eval()
        example = torch.rand(layer.input_shape, generator=torch_generator(0, "latency table", "input"))
        runner = self._deploy(network, example)
        return lambda _: runner(example)

    def _keep(self, key: str, milliseconds: float) -> None:
        self._known[key] = milliseconds
        self.measured += 1
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, (json.dumps({"layer": key, "ms": milliseconds}) + "\n").encode())
        finally:
            os.close(descriptor)

    def _read(self, line: str) -> None:
        """Take one line; one that a kill cut short is left alone and its layer measured again."""
        try:
            entry = fit(parse_json(line.encode()), dict[str, str | float], "a line")
            milliseconds = float(fit(entry["ms"], float, "'ms'"))
            if milliseconds < 0:
                raise ValueError("a time below 0")
            self._known[fit(entry["layer"], str, "'layer'")] = milliseconds
        except (ValueError, KeyError):
            logger.warning("%s has a line that cannot be read; its layer is measured again", self._path)
