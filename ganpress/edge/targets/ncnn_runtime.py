"""Runs a `.param` file with its `.bin` as a generator."""

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganpress.edge.graphs.graph_writer import INPUT, OUTPUT, SOURCE
from ganpress.edge.onnx_runtime import as_float32
from ganpress.edge.proof.kernels import KernelProfile, profile_of
from ganpress.edge.quiet import quiet_descriptors
from ganpress.errors import CheckpointError
from ganpress.files.edge_files import parts_of
from ganpress.files.frames import is_frame, read_content

MULTIPLYING = ("Convolution", "Deconvolution", "InnerProduct", "Gemm", "MatMul")
"""Parts of the names of convolutions and matrix products."""
MAGIC = "7767517"
"""First line of every `.param` file."""
INPUT_LAYER = re.compile(r"^Input [a-z]+_((?:[1-9][0-9]{0,6}x){0,2}[1-9][0-9]{0,6}) 0 1 ", re.MULTILINE)
IN_HALVES = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage", "use_bf16_packed")
"""Options of ncnn; the first ones are on by default, and cost a float32 file 60 dB."""


class NcnnGenerator:
    """Latents (N, Z) or pictures (N, C, H, W) -> images (N, C, H, W), float32, computed by ncnn on the CPU."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Load the files.

        Args:
            path: a `.param` file with its `.bin` beside it, both plain or both packed.
            threads: number of threads.

        Raises:
            CheckpointError: if a file is missing, damaged, or not a generator.
        """
        for needed in parts_of(path):
            if not needed.exists():
                raise CheckpointError(f"{needed} does not exist; export the generator first")
        content = read_content(path) if is_frame(path) else path.read_bytes()
        try:  # ncnn takes names that are no text, and its Python package fails when it returns them
            text = content.decode("ascii")
        except UnicodeDecodeError:
            raise CheckpointError(f"{path} cannot be loaded by ncnn: it is no ASCII text; export it again") from None
        self.path, self.input_shape = path, _input_shape(path, text)
        with quiet_descriptors():  # it prints errors of a file
            self._net = _load(path, threads)
            names = [] if self._net is None else [*self._net.input_names(), *self._net.output_names()]
        if self._net is None:  # a partly loaded network would crash the process when it runs
            raise CheckpointError(f"{path} cannot be loaded by ncnn: it or its .bin is damaged; export it again")
        if names not in ([INPUT, OUTPUT], [SOURCE, OUTPUT]):
            raise CheckpointError(
                f"{path} is no generator: it needs '{INPUT}' or '{SOURCE}' -> '{OUTPUT}', found {names}"
            )
        self._input = names[0]

    def __call__(self, inputs: Tensor) -> Tensor:
        """Run a batch of any size, one input at a time, because ncnn's arrays have no batch axis.

        Raises:
            ConfigError: if `inputs` is not (N, *input_shape) with N >= 1.
            CheckpointError: if ncnn cannot compute the graph.
        """
        values = as_float32(inputs, self.input_shape, f"{self.path.name} takes {self._input}")
        return torch.from_numpy(np.stack([self._image(one) for one in values]))

    def _image(self, values: Any) -> Any:
        import ncnn

        extractor = self._net.create_extractor()
        # ncnn shares the memory of arrays that it takes and returns; copies keep both unchanged.
        extractor.input(self._input, ncnn.Mat(values).clone())
        code, image = extractor.extract(OUTPUT)
        if code != 0:
            raise CheckpointError(f"{self.path} cannot be run by ncnn: code {code}; export it again")
        return np.array(image, dtype=np.float32, copy=True)

    def profile(self) -> KernelProfile:
        """Return the layers as ncnn loaded them.

        Its Python package has no profiler, so times are not known. Layers run in the number type of the load options,
        which is float32; float16 weights on disk are decoded.
        """
        kinds = [layer.type for layer in self._net.layers()]
        return profile_of(
            (kind, "float32", any(part in kind for part in MULTIPLYING), None) for kind in kinds if kind != "Input"
        )


def unknown_operators(text: str) -> list[str]:
    """Return the layer types in a `.param` text that the installed ncnn does not have, each once."""
    import ncnn

    kinds = dict.fromkeys(line.split()[0] for line in text.splitlines()[2:] if line.strip())
    return [kind for kind in kinds if ncnn.layer_to_index(kind) < 0]


def _input_shape(path: Path, text: str) -> tuple[int, ...]:
    """Return the shape of one input from the name of the input layer, where `write_ncnn` stores it.

    Raises:
        CheckpointError: if the text is not from ncnn, or has no such layer.
    """
    lines = text.splitlines()
    if not lines or lines[0].strip() != MAGIC:
        raise CheckpointError(f"{path} cannot be loaded by ncnn: it does not begin like a .param file; export it again")
    given = INPUT_LAYER.findall(text)
    sizes = tuple(map(int, given[0].split("x"))) if len(given) == 1 else ()
    if len(sizes) not in (1, 3):
        raise CheckpointError(f"{path} is no generator: it needs one input of fixed sizes; export it again")
    return sizes


def _load(path: Path, threads: int) -> Any:
    """Load a network from two files, plain or packed; None if ncnn refuses them. ncnn reads only from files."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads, net.opt.use_vulkan_compute = threads, False
    for name in IN_HALVES:
        if hasattr(net.opt, name):
            setattr(net.opt, name, False)
    with tempfile.TemporaryDirectory(prefix="ganpress-ncnn-") as folder:
        parts = parts_of(path)
        if is_frame(path):
            plain = [Path(folder) / f"generator{end}" for end in (".param", ".bin")]
            for place, frame in zip(plain, parts, strict=True):
                place.write_bytes(read_content(frame))
            parts = tuple(plain)
        codes = [net.load_param(str(parts[0]))]
        codes += [net.load_model(str(parts[1]))] if codes == [0] else []
    return net if codes == [0, 0] else None
