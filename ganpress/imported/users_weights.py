"""Finds the weights of a user's network in a file, and maps their names to those of the network.

A training program stores its generator together with other values, below some key, with prefixes of wrappers. The
weights are the tensors in the file that have all names and shapes of the network.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ganpress.errors import CheckpointError
from ganpress.files.checkpoint import load_weights_
from models.plain_network import fold_

State = Mapping[str, Tensor]
PARALLEL = "module."
COMPILED = "_orig_mod."
"""Part of names that `torch.compile` adds for a compiled module."""
AVERAGES = ("g_ema", "params_ema", "ema", "averaged", "shadow")
"""Parts of names of averaged weights, which are used for drawing pictures."""
COUNTS = ("num_batches_tracked", "total_ops", "total_params", "n_averaged")
"""Last parts of names that do not affect images."""
DEEPEST = 4
MOST_PREFIX_PARTS = 4
MOST_CANDIDATES = 2_000
SHOWN = 6


@dataclass(frozen=True)
class Candidate:
    """Tensors that may be the network's weights."""

    place: str
    """Keys of the file that lead to them, joined by dots; empty for the file itself."""
    prefix: str
    """Prefix of each of their names."""
    state: State
    """Without the prefix."""
    folded: int = 0
    """Number of layers whose parametrised weight was folded into a plain one."""

    @property
    def name(self) -> str:
        """Return its name in messages."""
        return ".".join(part for part in (self.place, self.prefix.rstrip(".")) if part)

    @property
    def rank(self) -> tuple[bool, int]:
        """Smallest where several fit: averaged weights first, which draw better pictures; then the outermost."""
        return not _is_average(self.name), self.name.count(".")


def load_users_weights_(network: nn.Module, content: object, origin: str, key: str | None = None) -> list[str]:
    """Find a network's weights in the content of a file, and load them; parametrised weights may be folded.

    Args:
        network: changed in place.
        content: what `ganpress.imported.weight_files.read_weights_file` gives.
        origin: how messages call the file.
        key: keys and prefixes that lead to the weights, joined by dots; None looks for them.

    Returns:
        Sentences about what was found.

    Raises:
        CheckpointError: if nothing in the file fits; the message names the first mismatch of the best candidate.
    """
    places = list(_places(content))
    if not places:
        raise CheckpointError(f"{origin} holds {described(content)}, not named tensors: save `model.state_dict()`")
    found = _candidates(places, key)
    if key is not None and not found:
        raise CheckpointError(f"{origin} holds no tensors under '{key}'; {_listing(places)}")
    chosen = _fitting(network, found)
    if chosen is None:
        fold_(network)
        chosen = _fitting(network, [*found, *map(_folded, found)])
    if chosen is None:
        chosen = max(found, key=lambda one: _overlap(network, one))
        where = f"{origin}, '{chosen.name}'" if chosen.name else origin
        _load_(network, chosen, where, _listing(places) if len(places) > 1 else "")
        return []
    _load_(network, chosen, origin, "")
    return _sentences(chosen)


def _load_(network: nn.Module, chosen: Candidate, where: str, more: str) -> None:
    own = network.state_dict()
    # Files from before PyTorch 0.4.1 do not count batches, and nothing but a moving average without momentum reads it.
    counts = {name: tensor for name, tensor in own.items() if _is_count(name)}
    state = {name: tensor for name, tensor in chosen.state.items() if name in own or not _is_count(name)}
    try:
        load_weights_(network, counts | state, where)
    except CheckpointError as error:
        raise CheckpointError(f"{error}{f'; {more}, --weights-key names another' if more else ''}") from None


def _sentences(chosen: Candidate) -> list[str]:
    found = (
        [f"the weights are those under '{chosen.name}' in the file; --weights-key names others"] if chosen.name else []
    )
    kinds = {tensor.dtype for tensor in chosen.state.values()} & {torch.float16, torch.bfloat16}
    if kinds:
        names = " and ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds))
        found.append(f"its weights, {names} in the file, became float32")
    if chosen.folded:
        found.append(
            f"{chosen.folded} layers of the file had weight or spectral normalisation, folded into plain weights"
        )
    return found


def _places(content: object, place: str = "", depth: int = 0) -> Iterator[tuple[str, State]]:
    """All mappings that hold tensors, with the keys that lead there."""
    if not isinstance(content, Mapping) or depth > DEEPEST:
        return
    tensors = {name: one for name, one in content.items() if isinstance(name, str) and isinstance(one, Tensor)}
    if tensors:
        yield place, {name.replace(COMPILED, ""): one for name, one in tensors.items()}
    for name, one in content.items():
        if isinstance(name, str):
            yield from _places(one, f"{place}.{name}" if place else name, depth + 1)


def candidates(content: object) -> list[Candidate]:
    """Everything in a file that may be a network's weights, the outermost first."""
    return _candidates(list(_places(content)), None)


def without_wrapper(state: State) -> State:
    """Names without what `nn.DataParallel` writes before every one."""
    parallel = all(name.startswith(PARALLEL) for name in state)
    return {name.removeprefix(PARALLEL): one for name, one in state.items()} if parallel else state


def _candidates(places: list[tuple[str, State]], key: str | None) -> list[Candidate]:
    found = []
    for place, state in places:
        for prefix in _prefixes(state):
            inside = {name.removeprefix(prefix): one for name, one in state.items() if name.startswith(prefix)}
            one = Candidate(place, prefix, inside)
            if key is None or one.name == key:
                found.append(one)
            if len(found) == MOST_CANDIDATES:
                return found
    return found


def _prefixes(state: State) -> list[str]:
    """Beginnings of names, whole parts of them, the shortest first."""
    found = {"": None}
    for name in state:
        parts = name.split(".")
        for count in range(1, min(len(parts), MOST_PREFIX_PARTS + 1)):
            found[".".join(parts[:count]) + "."] = None
    return sorted(found, key=lambda prefix: prefix.count("."))


def _fitting(network: nn.Module, candidates: list[Candidate]) -> Candidate | None:
    """The weights that have all names and shapes of a network, averaged ones first, then the shortest way there."""
    needed = {name: tuple(one.shape) for name, one in network.state_dict().items() if not _is_count(name)}
    fitting = [one for one in candidates if _fits(one.state, needed)]
    return min(fitting, key=lambda one: one.rank) if fitting else None


def _fits(state: State, needed: Mapping[str, tuple[int, ...]]) -> bool:
    if any(name not in state or tuple(state[name].shape) != shape for name, shape in needed.items()):
        return False
    return bool(needed) and all(name in needed or _is_count(name) for name in state)


def _overlap(network: nn.Module, candidate: Candidate) -> tuple[int, int]:
    """Return how many names match with their shape, and how many match only by name."""
    own = network.state_dict()
    named = [name for name in candidate.state if name in own]
    return sum(candidate.state[name].shape == own[name].shape for name in named), len(named)


def _is_average(name: str) -> bool:
    return any(part in name.lower() for part in AVERAGES)


def _is_count(name: str) -> bool:
    return name.rpartition(".")[2] in COUNTS


def _listing(places: list[tuple[str, State]]) -> str:
    names = [f"'{place or '(the file)'}' ({len(state)} tensors)" for place, state in places[:SHOWN]]
    return f"the file holds tensors under {', '.join(names)}{', …' if len(places) > SHOWN else ''}"


def described(value: object) -> str:
    """Describe a file's content for a message."""
    return "nothing" if isinstance(value, dict) and not value else f"a {type(value).__name__}"


def _folded(candidate: Candidate) -> Candidate:
    """Replace parametrised weights by plain ones, for torch's old and new form of parametrisation."""
    state: dict[str, Any] = dict(candidate.state)
    count = 0
    for name in candidate.state:
        for ending, fold in FOLDS.items():
            layer = name.removesuffix(ending)
            if layer != name and (weight := fold(state, layer)) is not None:
                state[f"{layer}weight"] = weight
                count += 1
    return Candidate(candidate.place, candidate.prefix, state, count)


def _weight_norm(state: dict[str, Any], names: tuple[str, str]) -> Tensor | None:
    """G v / |v|, the norm over all axes along which g has one value (Salimans and Kingma 2016)."""
    if not all(name in state for name in names):
        return None
    scale, direction = (state.pop(name) for name in names)
    axes = [axis for axis, size in enumerate(scale.shape) if size == 1] if scale.dim() else list(range(direction.dim()))
    norm: Tensor = torch.linalg.vector_norm(direction.float(), dim=axes, keepdim=True)
    folded: Tensor = scale.float() * direction.float() / norm
    return folded


def _spectral_norm(state: dict[str, Any], names: tuple[str, str, str]) -> Tensor | None:
    """W / (u^T W v), W the weight as a matrix whose rows u counts (Miyato et al. 2018)."""
    if not all(name in state for name in names):
        return None
    weight, u, v = (state.pop(name) for name in names)
    flat = weight.float()
    if len(u) != len(flat):
        flat = flat.transpose(0, 1)  # a transposed convolution
    folded: Tensor = weight.float() / torch.dot(u.float(), flat.flatten(1) @ v.float())
    return folded


FOLDS: dict[str, Any] = {
    "weight_g": lambda state, layer: _weight_norm(state, (f"{layer}weight_g", f"{layer}weight_v")),
    "parametrizations.weight.original0": lambda state, layer: _weight_norm(
        state, (f"{layer}parametrizations.weight.original0", f"{layer}parametrizations.weight.original1")
    ),
    "weight_orig": lambda state, layer: _spectral_norm(
        state, (f"{layer}weight_orig", f"{layer}weight_u", f"{layer}weight_v")
    ),
    "parametrizations.weight.original": lambda state, layer: _spectral_norm(
        state,
        (
            f"{layer}parametrizations.weight.original", f"{layer}parametrizations.weight.0._u",
            f"{layer}parametrizations.weight.0._v",
        ),
    ),
}  # fmt: skip
"""Last part of a name that a parametrisation has -> the plain weight, its parts taken out of the state."""
