"""Third-party generator checkpoints: their tensor names against ours, and the generator that fits them.

A *mapping* says for each of our layers how a published code base calls it, see `ganpress.imported.weight_layouts`. Only
names differ, never the layout of a tensor.

- ``cyclegan``: ResNet generators with nine blocks of the PyTorch CycleGAN and pix2pix by their authors, and plain ones
  of GAN Compression.
- ``pix2pix_unet``: U-Net generators of the same, of any depth.
- ``gan_compression``: mobile ResNet generators of GAN Compression (Li et al. 2020), full or sub-generators.
"""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from ganpress.errors import CheckpointError
from ganpress.files.checkpoint import load_weights_
from ganpress.imported.users_weights import candidates, described, without_wrapper
from ganpress.imported.weight_files import read_weights_file
from ganpress.imported.weight_layouts import LAYOUTS, InferredGenerator, Layout, State

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def import_generator(path: Path, mapping_name: str) -> tuple[nn.Module, InferredGenerator]:
    """Read a third-party checkpoint into the generator that fits it, in eval mode on the CPU.

    Raises:
        CheckpointError: if the file is no state_dict, or not one of this mapping's architecture.
    """
    layout = _layout(mapping_name)
    state = read_state(path, lambda one: _names_fit(one, layout))
    inferred = spec_of_state(state, mapping_name, str(path))
    network = inferred.blueprint.build()
    load_weights_(network, map_keys(state, mapping_name, network, str(path)), str(path))
    return network.eval(), inferred


def read_state(path: Path, wanted: Callable[[State], bool] = lambda _state: True) -> dict[str, Tensor]:
    """Read named tensors, refusing pickled code; what training programs put around them and before names is taken off.

    Args:
        path: see `ganpress.imported.weight_files`.
        wanted: whether these are the tensors that are looked for; where none are, the outermost are taken.

    Raises:
        CheckpointError: if the file is missing, damaged, or holds anything but named tensors.
    """
    content = read_weights_file(path)
    found = candidates(content)
    if not found:
        raise CheckpointError(f"{path} holds {described(content)}, not named tensors: save `model.state_dict()`")
    fitting = [one for one in found if wanted(one.state)]
    chosen = min(fitting, key=lambda one: one.rank) if fitting else found[0]
    return dict(without_wrapper(chosen.state))


def map_keys(state: State, mapping_name: str, network: nn.Module, origin: str = "the checkpoint") -> dict[str, Tensor]:
    """Rename a third-party state_dict for our network; every tensor must fit, and none may be left over.

    Statistics of normalisations that have no parameters are left out: files from before PyTorch 0.4 hold them for
    instance norms, which never used them. A missing `num_batches_tracked`, newer than such files, stays as it is.

    Args:
        state: their names -> tensors.
        mapping_name: one of `ganpress.imported.weight_layouts.LAYOUTS`.
        network: what the tensors are for.
        origin: what to call the checkpoint in a message.

    Returns:
        what `network.load_state_dict` takes.

    Raises:
        CheckpointError: if the mapping is unknown, or naming the first layer, in the network's order, that does not
            fit.
    """
    layers = _layout(mapping_name).layers(state)
    mapped: dict[str, Tensor] = {}
    used: set[str] = set()
    for ours, needed in network.state_dict().items():
        layer, _, kind = ours.rpartition(".")
        if layer not in layers:
            raise CheckpointError(f"{origin}: as '{mapping_name}' it has no layer for our '{ours}' {_shape(needed)}")
        theirs = f"{layers[layer]}.{kind}"
        if kind == "num_batches_tracked" and theirs not in state:
            mapped[ours] = needed
            continue
        mapped[ours] = _fitting(state, theirs, ours, needed, origin).to(needed.dtype)
        used.add(theirs)
    for theirs in state:
        if theirs not in used and not _is_unused_statistic(theirs, state):
            found = f"'{theirs}' {_shape(state[theirs])}"
            raise CheckpointError(f"{origin} holds {found}, which our {type(network).__name__} has no layer for")
    return mapped


def spec_of_state(state: State, mapping_name: str, origin: str = "the checkpoint") -> InferredGenerator:
    """Read family, spec and channels of the generator off the shapes of its weights.

    Raises:
        CheckpointError: if the mapping is unknown, or a layer that says a width is missing or of an impossible one.
    """
    layout = _layout(mapping_name)
    try:
        return layout.infer(state, layout.layers(state))
    except CheckpointError as error:
        others = [name for name in sorted(LAYOUTS) if name != mapping_name and _names_fit(state, LAYOUTS[name])]
        advice = f"; its names are those of the keys '{others[0]}'" if others else ""
        raise CheckpointError(f"{origin} does not fit the keys '{mapping_name}': {error}{advice}") from None


def _names_fit(state: State, layout: Layout) -> bool:
    return {f"{layer}.weight" for layer in layout.layers(state).values()} <= state.keys()


def _layout(name: str) -> Layout:
    if name not in LAYOUTS:
        raise CheckpointError(f"unknown keys '{name}'; known: {', '.join(sorted(LAYOUTS))}")
    return LAYOUTS[name]


def _fitting(state: State, theirs: str, ours: str, needed: Tensor, origin: str) -> Tensor:
    if theirs not in state:
        raise CheckpointError(f"{origin} lacks '{theirs}', our '{ours}' {_shape(needed)}")
    if state[theirs].shape != needed.shape:
        found = f"'{theirs}' is {_shape(state[theirs])}"
        raise CheckpointError(f"{origin}: {found}, our '{ours}' needs {_shape(needed)}: another width or architecture")
    return state[theirs]


def _is_unused_statistic(name: str, state: State) -> bool:
    layer, _, kind = name.rpartition(".")
    return kind in STATISTICS and f"{layer}.weight" not in state


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)
