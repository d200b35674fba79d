"""The interface of every edge target: writes a generator as its files, runs them, and reports which kernels ran.

A target's facts need no torch: code that works on networks is imported where it is called.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from ganpress.errors import ConfigError
from ganpress.registries import TARGETS

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from ganpress.edge.forms.float_forms import Form
    from ganpress.edge.proof.kernels import KernelProfile
    from ganpress.metrics.scoring import Generate


class MissingTarget(ConfigError):
    """The packages of a target are not installed."""


class UnsupportedGenerator(ConfigError):
    """A target cannot run an operator of the generator."""


class Target(ABC):
    """One runtime with its file format."""

    name: str
    """Name, as in `export.items.X.target`."""
    title: str
    """Name of the runtime in texts."""
    devices: str = ""
    """Devices that its files are for."""
    suffix: str
    """Suffix of the file that `write` writes and `open` opens; if packed, `.zst` is appended."""
    beside: tuple[str, ...] = ()
    """Suffixes of further files that belong to the one that is opened."""
    number_types: tuple[str, ...]
    """Number types that `write` supports."""
    calibrated: tuple[str, ...] = ("int8",)
    """Number types of the target's own post-training quantization, with ranges from calibration inputs; names that it
    cannot write are ignored.
    """
    int8_scheme: str = ""
    """Description for the card of how its own quantization rounds weights and activations; see `scheme`."""
    packages: tuple[str, ...] = ()
    """Python packages that it needs, its runtime first."""
    programs: tuple[str, ...] = ()
    """Programs that it needs on the search path; the first is its runtime if it has no packages."""
    install: str
    """Command that installs them."""
    mismatch_advice: str = ""
    """Advice if a file differs from torch because of the runtime."""
    is_onnx: bool = False
    """Whether its files are ONNX, which browsers run and MLflow serves."""
    opset: int | None = None
    """Version of the operators in its files; None if the format has no operator sets."""
    reads_onnx: bool = False
    """Whether its files are made from ONNX graphs, so that a single layer can be given to it as one."""
    widens: bool = True
    """Whether layers of few channels are written in blocks of pixels, see `ganpress.edge.forms.pixel_blocks`."""
    web_providers: tuple[str, ...] = ("wasm",)
    """Execution providers of ONNX Runtime Web for its files in a browser, in order of preference."""
    any_size_types: tuple[str, ...] = ()
    """Number types whose files can leave height and width of pictures open."""
    stand_in: str = ""
    """Description of what computes its files if its own runtime does not run on this system: results are then
    verified, but no time or memory is measured. Empty if its runtime runs here.
    """

    def missing(self) -> str | None:
        """Command that installs the target; None if it is installed."""
        return self.install if self.absent() else None

    def absent(self) -> list[str]:
        """Its packages and programs that are not installed."""
        packages = [name for name in self.packages if not any(importlib.metadata.distributions(name=name))]
        return packages + [name for name in self.programs if shutil.which(name) is None]

    def quantizes(self, number_type: str) -> bool:
        """Return whether a number type is its own quantization, which needs calibration inputs."""
        return number_type in self.calibrated and number_type in self.number_types

    def bits(self, number_type: str) -> tuple[int, int]:  # noqa: ARG002 - most quantize only to 8 bits
        """Return the bits of weights and of activations of a number type of `calibrated`."""
        return 8, 8

    def scheme(self, number_type: str) -> str:  # noqa: ARG002 - most have one scheme
        """Return a description of how a number type of `calibrated` rounds weights and activations."""
        return self.int8_scheme

    @abstractmethod
    def default_form(self, number_type: str) -> Form:
        """Return the form of transposed convolutions that ran faster when measured; see
        `ganpress.edge.forms.choice`.
        """

    def can_keep(self, model: nn.Module) -> bool:  # noqa: ARG002 - by default no integers are kept
        """Return whether a generator that ganpress quantized is written with its own integers."""
        return False

    def as_written(self, model: nn.Module, example: Tensor) -> nn.Module:
        """Return a float network, which is in its form, with the layers of the written file."""
        from ganpress.edge.forms.pixel_blocks import widen_outputs

        return widen_outputs(model, example) if self.widens else model

    def write(
        self,
        model: nn.Module,
        path: Path,
        example: Tensor,
        number_type: str = "float32",
        calibration: Tensor | None = None,
        form: Form | None = None,
    ) -> tuple[Path, ...]:
        """Write a generator, completely or not at all.

        Args:
            model: generator whose eval behaviour is written; it is not changed.
            path: the file that `open` takes; its folder is created.
            example: pictures (N, …) in [-1, 1] or latents; the file takes inputs of their shape except N.
            number_type: one of `number_types`.
            calibration: inputs (n, …) on which the ranges of number types in `calibrated` are measured.
            form: form of transposed convolutions; None takes `default_form`.

        Returns:
            The files that were written, `path` first.

        Raises:
            MissingTarget: if the target is not installed.
            UnsupportedGenerator: if the target cannot run an operator of the generator.
            ConfigError: if the number type, the inputs or the calibration set does not fit, or the generator's images
                are not finite.
        """
        import copy

        from ganpress.edge.forms.equalization import equalized
        from ganpress.edge.forms.float_forms import in_form, with_batch_norms
        from ganpress.structure.input_checks import check_generator
        from models.quantized_network import QuantizedNetwork

        check_request(self, number_type, example, calibration)
        check_generator(copy.deepcopy(model).eval(), example)
        ranges = calibration if self.quantizes(number_type) else None
        if isinstance(model, QuantizedNetwork):
            if number_type != "float32" or not self.can_keep(model):
                others = " or ".join(f"'{name}'" for name, one in TARGETS.items() if one.can_keep(model))
                own = " or ".join(name for name in self.number_types if self.quantizes(name))
                raise ConfigError(
                    f"the target '{self.name}' writes float generators{' and quantizes by itself' if own else ''}; "
                    f"name the float generator{f' and number_type {own}' if own else ''}, or use the target {others}"
                )
            return self._write(with_batch_norms(model), path, example, number_type, None)
        if ranges is not None:
            model = equalized(model, ranges)
        model = in_form(model, form or self.default_form(number_type), example)
        return self._write(model, path, example, number_type, ranges)

    def open_sizes(
        self, model: nn.Module, files: tuple[Path, ...], example: Tensor, number_type: str, form: Form
    ) -> None:
        """Leave height and width open in files that `write` wrote for the size of `example`; only for `any_size_types`.

        Args:
            model: as for `write`.
            files: what `write` returned.
            example: inputs (N, C, H, W), as for `write`.
            number_type: one of `any_size_types`.
            form: form in which the files were written.

        Raises:
            UnsupportedGenerator: if the generator's graph depends on the size.
            ConfigError: if the generator reads latents.
        """
        raise NotImplementedError(f"the target '{self.name}' writes files of one size")

    def open(self, path: Path, threads: int = 1) -> Generate:
        """Load a written file, plain or packed: inputs (N, …) -> images (N, C, H, W), float32.

        Raises:
            MissingTarget: if the target is not installed.
            CheckpointError: if the file is missing, damaged or not a generator.
        """
        require_installed(self)
        return self._open(path, threads)

    def kernels(self, path: Path, example: Tensor) -> KernelProfile:
        """Run a written file once on one thread and return which kernels ran, from the runtime's own profile."""
        require_installed(self)
        return self._kernels(path, example)

    def arena_bytes(self, path: Path) -> int | None:  # noqa: ARG002 - most runtimes allocate what they need
        """Return the bytes of memory that the caller must provide for a written file; None if the runtime allocates
        it.
        """
        return None

    def version(self) -> str:
        """Return the name and version of the runtime.

        Raises:
            MissingTarget: if the target is not installed.
        """
        require_installed(self)
        if not self.packages:
            return program_version(self.programs[0])
        runtime = self.packages[0]
        return f"{runtime} {importlib.metadata.version(runtime).partition('-')[0]}"

    @abstractmethod
    def _write(
        self, model: nn.Module, path: Path, example: Tensor, number_type: str, calibration: Tensor | None
    ) -> tuple[Path, ...]:
        """As `write`, for a model in its form; `calibration` is given only for number types in `calibrated`."""

    @abstractmethod
    def _open(self, path: Path, threads: int) -> Generate: ...

    @abstractmethod
    def _kernels(self, path: Path, example: Tensor) -> KernelProfile: ...


def program_version(program: str) -> str:
    """Return the first line that `program --version` prints, e.g. `cc (Debian 12.2.0-14) 12.2.0`."""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=False)
    return next(iter(done.stdout.splitlines()), program)


def require_installed(target: Target) -> None:
    """Raise an error with the install command if a target's packages are missing.

    Raises:
        MissingTarget: if packages are missing.
    """
    command = target.missing()
    if command is not None:
        raise MissingTarget(f"the target '{target.name}' is not installed; run `{command}`")


def check_request(target: Target, number_type: str, example: Tensor, calibration: Tensor | None) -> None:
    """Refuse a number type or calibration set that does not fit, before any work.

    Raises:
        MissingTarget: if the target is not installed.
        ConfigError: if the target has no such number type, or its own quantization has no calibration inputs of the
            right shape.
    """
    require_installed(target)
    if number_type not in target.number_types:
        allowed = ", ".join(target.number_types)
        raise ConfigError(f"the target '{target.name}' has no number type '{number_type}'; allowed: {allowed}")
    if not target.quantizes(number_type):
        return
    if calibration is None or len(calibration) == 0:
        raise ConfigError(
            f"{number_type} for '{target.name}' needs calibration inputs, found none; set export.calibration_images, "
            "or give the train split more data"
        )
    if calibration.shape[1:] != example.shape[1:]:
        found, wanted = tuple(calibration.shape[1:]), tuple(example.shape[1:])
        raise ConfigError(f"calibration inputs are {found}, the generator takes {wanted}; prepare the data again")
