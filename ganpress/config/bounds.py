"""Types of parameters, each with a lower and an upper bound and a unit, without conversion from other types.

Upper bounds are generous: above any known use, but below what no machine could hold or no schedule could finish.
Sections are strict (`ganpress.config.base.Section`): `true` is not a number, `3.0` is not an integer, "3" is neither.
"""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

LEFT_OUT_BY_DVC = frozenset({"size", "nfiles"})
"""Keys that DVC's run cache ignores (treeverse/dvc#10296): no parameter may have such a name, or DVC would restore the
output of another value. A test compares this with DVC's own list."""
ITEM_PATTERN = r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?"
ITEM_RULE = (
    "1 to 64 lower-case letters, digits, '-' and '_', with a letter or digit at both ends, and neither "
    f"{' nor '.join(sorted(LEFT_OUT_BY_DVC))}"
)
MAX_ITEMS = 256
"""Largest number of items of one stage with variants."""


def is_item_name(name: object) -> bool:
    """Return whether an item of a stage may be called `name`, which becomes a folder, a DVC stage and an MLflow run."""
    return isinstance(name, str) and re.fullmatch(ITEM_PATTERN, name) is not None and name not in LEFT_OUT_BY_DVC


def _item(name: object) -> object:
    if not is_item_name(name):
        raise ValueError(f"an item name is {ITEM_RULE}")
    return name


def _whole(value: object) -> object:
    """Refuse values that equal an integer in Python but are not one: `true` and `1.0`."""
    if isinstance(value, bool | float):
        raise ValueError(f"must be a whole number, found {str(value).lower()}")
    return value


def _source(name: object) -> object:
    """Refuse endless derivations (`edges:edges:…`) before they are resolved."""
    if isinstance(name, str) and name.count(":") > MAX_COLONS:
        raise ValueError(f"a data source has at most {MAX_COLONS} colons, found {name.count(':'):,}")
    return name


MAX_COLONS = 32
LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"
_LAYER = r"^[A-Za-z0-9_.]+$"
_REFERENCE = rf"^(?:teacher|subnet|(?:candidate|student|control|compress|export)/{ITEM_PATTERN})$"
_IMPORTED = r"^imported/[A-Za-z0-9][A-Za-z0-9_-]{0,63}(?:\.md)?$"
_REGISTERED = r"^[a-z][a-z0-9_-]*$"
PATTERNS = {
    LINE: "must be one line without control characters",
    _LAYER: "must be the name of a layer, letters, digits, '_' and '.'",
    _REFERENCE: f"must be teacher, subnet, student/X, control/X or compress/X; X is {ITEM_RULE}",
    _IMPORTED: "must be imported/X, where X is 1 to 64 letters, digits, '-' and '_' and begins with a letter or digit",
    _REGISTERED: "must be a name of small letters, digits, '_' and '-'",
}
"""Descriptions of the patterns, for messages."""

ItemName = Annotated[str, BeforeValidator(_item), Field(max_length=64)]
Text = Annotated[str, Field(min_length=1, max_length=1000, pattern=LINE)]
"""One line of text for people."""
FilePath = Annotated[str, Field(min_length=1, max_length=4096, pattern=LINE)]
SourceName = Annotated[str, BeforeValidator(_source), Field(min_length=1, max_length=4096, pattern=LINE)]
GeneratorName = Annotated[str, Field(min_length=1, max_length=4096, pattern=LINE)]
"""Generator as `family:spec`; `models.family_names` bounds the numbers in it."""
LayerName = Annotated[str, Field(min_length=1, max_length=256, pattern=_LAYER)]
Reference = Annotated[str, Field(max_length=96, pattern=_REFERENCE)]
"""Reference of a generator of the chain, such as `teacher`, `subnet` or `student/d4-mse`."""
RegisteredName = Annotated[str, Field(max_length=40, pattern=_REGISTERED)]
"""Name in a table of `ganpress.registries`."""
Option = (
    Annotated[int, Field(ge=-(2**53), le=2**53)] | Annotated[float, Field(ge=-1e300, le=1e300)] | Text | bool | None
)
"""Option of an algorithm of another package, which checks it itself."""
ImportedFolder = Annotated[str, Field(max_length=96, pattern=_IMPORTED)]

Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Images = Annotated[int, Field(ge=1, le=10_000_000)]
"""Number of images, latents or inputs that are in memory or on disk at once."""
ScoredImages = Annotated[int, Field(ge=2, le=10_000_000)]
"""Number of images from which a distribution is estimated."""
ImagesShown = Annotated[int, Field(ge=1, le=100_000_000_000)]
"""Training length."""
HalfLife = Annotated[int, Field(ge=0, le=100_000_000_000)]
"""Half-life of an exponential moving average, in images shown; 0 disables it."""
PoolImages = Annotated[int, Field(ge=0, le=1_000_000)]
"""Number of generated images in a history; 0 keeps none."""
BatchSize = Annotated[int, Field(ge=1, le=65_536)]
"""Number of images of one step."""
StatisticsBatchSize = Annotated[int, Field(ge=2, le=65_536)]
"""Number of images of one step if a normalisation takes its statistics over the batch."""
Steps = Annotated[int, Field(ge=1, le=1000)]
"""Number of updates or draws within one step of training."""
LearningRate = Annotated[float, Field(ge=1e-12, le=10)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
LossWeight = Annotated[float, Field(ge=0, le=1_000_000)]
PositiveWeight = Annotated[float, Field(ge=1e-12, le=1_000_000)]
Share = Annotated[float, Field(ge=0, le=1)]
PartialShare = Annotated[float, Field(ge=0, lt=1)]
PositiveShare = Annotated[float, Field(ge=1e-6, le=1)]
ShareBelowHalf = Annotated[float, Field(ge=1e-6, lt=0.5)]
ShareInside = Annotated[float, Field(ge=1e-12, lt=1)]
FidRatio = Annotated[float, Field(ge=1, le=1_000_000)]
Percentile = Annotated[float, Field(gt=50, le=100)]
Width = Annotated[int, Field(ge=1, le=4096)]
"""A number in a spec: channels before a layer's own factor, or percent of an imported network's channels."""
Depth = Annotated[int, Field(ge=1, le=2048)]
"""W-DCGAN's depth scale factor."""
Layers = Annotated[int, Field(ge=1, le=16)]
Pixels = Annotated[int, Field(ge=1, le=65_536)]
Bits = Annotated[int, Field(ge=2, le=8)]
MeanBits = Annotated[float, Field(ge=2, le=8)]
Bytes = Annotated[int, Field(ge=1, le=2**50)]
Operations = Annotated[int, Field(ge=1, le=10**18)]
"""Number of multiply-accumulates or parameters."""
Milliseconds = Annotated[float, Field(ge=1e-6, le=10_000_000)]
Decibels = Annotated[float, Field(ge=-200, le=200)]
PixelDifference = Annotated[float, Field(ge=1e-9, le=2)]
"""Difference between images in [-1, 1]."""
Repeats = Annotated[int, Field(ge=3, le=1_000_000)]
"""Number of timed calls or rounds."""
Neighbours = Annotated[int, Field(ge=1, le=10_000)]
Parts = Annotated[int, Field(ge=1, le=100_000)]
"""Number of subsets or splits over which a metric is averaged."""
ImageSize = Annotated[Literal[16, 32, 64, 128, 256], BeforeValidator(_whole)]
"""Height in pixels."""
PixelValue = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
"""Value of a pixel as stored in a picture's file."""
Channels = Annotated[Literal[1, 3], BeforeValidator(_whole)]
"""Number of channels of an image: 1 for grey or 3 for colour."""
