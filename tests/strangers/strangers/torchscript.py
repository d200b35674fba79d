"""TorchScript on the CPU: a traced module, and nothing else."""

import zipfile

import torch

from ganpress.edge.proof.kernels import profile_of
from ganpress.edge.targets.target import Target
from ganpress.errors import CheckpointError, ConfigError

MULTIPLYING = ("aten::_convolution", "aten::linear", "aten::matmul")


class TorchScriptTarget(Target):
    """Files `.ts`."""

    name = "torchscript"
    title = "TorchScript"
    suffix = ".ts"
    number_types = ("float32",)
    int8_scheme = ""
    packages = ("torch",)
    install = "uv sync"

    def default_form(self, number_type):
        return "native"

    def _write(self, model, path, example, number_type, calibration):
        path.parent.mkdir(parents=True, exist_ok=True)
        with torch.no_grad():
            torch.jit.trace(model.eval(), example).save(str(path))
        return (path,)

    def _open(self, path, threads):
        module = _load(path)

        def run(inputs):
            if not inputs.is_floating_point():
                raise ConfigError(f"{path.name} takes float32, found {inputs.dtype}")
            with torch.no_grad():
                return module(inputs)

        return run

    def _kernels(self, path, example):
        graph = _load(path).inlined_graph
        names = [one.kind() for one in graph.nodes() if one.kind() in MULTIPLYING]
        return profile_of((name, "float32", True, 1.0) for name in names)


def _load(path):
    try:
        return torch.jit.load(str(path))
    except (RuntimeError, ValueError, OSError, zipfile.BadZipFile):
        raise CheckpointError(f"{path} cannot be loaded by TorchScript; export it again") from None


TORCHSCRIPT = TorchScriptTarget()
