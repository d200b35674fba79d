"""Sections of compression, export, evaluation and the report."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from ganpress.config.base import Section, parse
from ganpress.config.bounds import (
    MAX_ITEMS,
    Bytes,
    Decibels,
    FilePath,
    Images,
    ItemName,
    Neighbours,
    Option,
    Parts,
    PixelDifference,
    Reference,
    RegisteredName,
    Repeats,
    ScoredImages,
    Text,
)
from ganpress.errors import ConfigError
from ganpress.registries import COMPRESSORS, TARGETS

if TYPE_CHECKING:
    from ganpress.compression.compressor import Compressor

Clipping = Literal["none", "mse", "aciq", "kl", "percentile"]
Method = Annotated[dict[RegisteredName, Option], Field(min_length=1, max_length=64)]


SHORT_FORM = ("prune_channels", "prune", "quantize")
"""Algorithms whose options may be written directly in an item, in the order in which they are applied."""


class CompressItem(Section):
    """One post-training compression of one generator.

    `{generator: subnet, sparsity: 0.2, weight_bits: 8}` is short for the algorithms of `SHORT_FORM` that declare these
    options: `{generator: subnet, method: [{name: prune, sparsity: 0.2}, {name: quantize, weight_bits: 8}]}`.
    """

    generator: Reference
    """Reference of the generator, e.g. `subnet` or `student/d4-mse`."""
    method: Annotated[list[Method], Field(min_length=1, max_length=16)]
    """Algorithms in the order in which they are applied, each as a `name` with its options."""

    @model_validator(mode="before")
    @classmethod
    def _written_out(cls, content: Any) -> Any:
        """Return the long form of an item; options that no algorithm declares are left in place and refused there."""
        if not isinstance(content, dict):
            return content
        given = content.get("method", [])
        methods = list(given) if isinstance(given, list) else [given]
        rest = {key: value for key, value in content.items() if key != "method"}
        for name in SHORT_FORM:
            options = {key: rest.pop(key) for key in COMPRESSORS[name].options.model_fields if key in rest}
            if options:
                methods.append({"name": name, **options})
        if not methods:
            raise ValueError("needs weight_bits, activation_bits or sparsity, or a width below 1, or a method")
        return rest | {"method": methods}

    @model_validator(mode="after")
    def _known_algorithms(self) -> "CompressItem":
        try:
            algorithms = self.algorithms()
        except ConfigError as error:
            raise ValueError(str(error)) from None
        for compressor, _ in algorithms[:-1]:
            if compressor.comes_last:
                raise ValueError(
                    f"method {compressor.name} gives a result that no other method can compress; put it last"
                )
        return self

    def algorithms(self) -> "list[tuple[Compressor, Section]]":
        """Return the algorithms with their options, in order.

        Raises:
            ConfigError: if there is no such algorithm, or one of its options is wrong.
        """
        found = []
        for one in self.method:
            options = dict(one)
            compressor = COMPRESSORS.find(str(options.pop("name", "")))
            found.append((compressor, parse(options, compressor.options, f"method {compressor.name}")))
        return found


class CompressConfig(Section):
    """Post-training compression without fine-tuning."""

    calibration_images: Images
    """Number of latents on which the activation ranges are measured."""
    items: dict[ItemName, CompressItem] = Field(min_length=1, max_length=MAX_ITEMS)


def _known_target(name: str) -> str:
    if name not in TARGETS:
        raise ValueError(TARGETS.unknown(name))
    return name


TargetName = Annotated[RegisteredName, AfterValidator(_known_target)]


class ExportItem(Section):
    """One edge file."""

    generator: Reference
    """Reference of the generator to export."""
    target: TargetName = "onnx"
    """Runtime of the file; `ganpress targets` shows which are installed."""
    number_type: RegisteredName = "auto"
    """`auto` writes the generator with its own number type; `int8` or `a16w8` uses the target's own quantizer, for
    float generators."""
    form: Literal["auto", "native", "subpixel"] = "auto"
    """Form of transposed convolutions; `auto` times both forms and takes the faster one, except for generators in
    integers."""
    packed: bool = False
    """Whether each file is kept as a Zstandard frame (`generator.onnx.zst`) that is decoded when it is loaded."""
    any_size: bool = False
    """Whether the file takes pictures of any height and width; ONNX files and Core ML packages of fully convolutional
    generators in floats can."""

    @model_validator(mode="after")
    def _target_has_number_type(self) -> "ExportItem":
        allowed = ("auto", *TARGETS[self.target].number_types)
        if self.number_type not in allowed:
            raise ValueError(f"target '{self.target}' takes the number types {', '.join(allowed)}")
        return self


class ExportConfig(Section):
    """Edge files; quantized generators become integer graphs."""

    tolerance: PixelDifference
    """Largest allowed absolute difference to torch, images in [-1, 1]."""
    min_snr_db: Decibels = 15.0
    """Smallest allowed SNR in decibels of a file's images to torch's, if the file has fewer bits than its generator."""
    verification_images: Images = 64
    """Number of test inputs on which the file and torch are compared, picture by picture."""
    calibration_images: Images = 256
    """Number of training inputs on which a target's own quantizer is calibrated."""
    latency_rounds: Repeats = 50
    """Number of timed calls for the latency on the card."""
    items: dict[ItemName, ExportItem] = Field(min_length=1, max_length=MAX_ITEMS)


class ByteBudget(Section):
    """The budget of the section `evaluate`, for callers that need nothing else of it."""

    max_bytes: Bytes | None = None


class EvaluateConfig(Section):
    """Measurement of every generator of the chain."""

    images: ScoredImages
    """Number of generated images for each generator; a conditional one draws one for each test source and no more."""
    neighbours: Neighbours
    """k of precision, recall, density and coverage."""
    kid_subsets: Parts
    kid_subset_size: ScoredImages
    is_splits: Parts
    latency_repeats: Repeats
    """Number of timed rounds; every generator is timed once in each round, in turn."""
    lpips_weights: FilePath | None = None
    """Local file of LPIPS on SqueezeNet 1.1 (docs/metrics.md says how to create it); without it LPIPS is not
    measured."""
    max_bytes: Bytes | None = None
    """Budget in bytes of the edge file to ship; None considers all edge files."""


class ReportConfig(Section):
    """The report page."""

    title: Text
    sample_images: int = Field(ge=1, le=64)
    """Number of latents shown through each generator."""
    interpolation_steps: int = Field(ge=2, le=32)
