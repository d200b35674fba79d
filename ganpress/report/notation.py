"""How numbers and metric names are written for a reader: unit, direction, protocol."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Direction = Literal["higher", "lower", "none"]
Writer = Callable[[float], str]
MISSING = "–"

_NAME = re.compile(
    r"(?P<base>is|fid|kid|precision_lshknn|precision_lsh|precision|recall_lshknn|recall_lsh|recall|density|coverage"
    r"|vol_ratio|vol|miou|pixel_accuracy|psnr|ssim|mae_teacher|mae|lpips_teacher|lpips"
    r"|feature_distance|class_kept|modes_kept)"
    r"(?:_(?P<aspect>difference|ceiling))?"
    r"(?:_(?P<spread>std|error))?"
    r"(?:_(?P<images>\d+))?"
    r"(?:_(?P<split>train|validation|test|all))?"
    r"(?:_(?P<judge>judge|inception|squeezenet|segmenter))?"
    r"(?:_(?P<late_spread>std|error|low|high))?"
)
_TITLES: dict[str, tuple[str, Direction, str]] = {
    "is": ("IS", "higher", "Inception Score: sure and varied classes, by the judge"),
    "fid": ("FID", "lower", "Fréchet distance between generated and real features"),
    "kid": ("KID", "lower", "kernel distance (unbiased MMD²) between generated and real features"),
    "precision": ("Precision", "higher", "share of generated images inside the real manifold"),
    "recall": ("Recall", "higher", "share of real images inside the generated manifold"),
    "density": ("Density", "higher", "how many real neighbourhoods hold a generated image, 1 for real data"),
    "coverage": ("Coverage", "higher", "share of real neighbourhoods that hold a generated image"),
    "precision_lsh": (
        "Precision LSH",
        "higher",
        "share of hash tables in which a generated image shares its bucket with real ones",
    ),
    "recall_lsh": (
        "Recall LSH",
        "higher",
        "share of hash tables in which a real image shares its bucket with generated",
    ),
    "precision_lshknn": (
        "Precision LSH+KNN",
        "higher",
        "share of generated images in the ball of a real one of the same bucket",
    ),
    "recall_lshknn": (
        "Recall LSH+KNN",
        "higher",
        "share of real images in the ball of a generated one of the same bucket",
    ),
    "feature_distance": (
        "Change",
        "lower",
        "mean distance of an image's features before and after the step, in spreads of the set before",
    ),
    "class_kept": ("Class kept", "higher", "share of images whose class the step did not change"),
    "modes_kept": ("Modes kept", "higher", "share of neighbourhoods before the step that are still drawn after it"),
    "miou": ("mIoU", "higher", "mean class IoU of what a segmentation network reads in the image and the label map"),
    "pixel_accuracy": (
        "Pixel accuracy",
        "higher",
        "share of pixels that a segmentation network labels as the map does",
    ),
    "psnr": ("PSNR", "higher", "peak signal-to-noise ratio to the true image, decibels"),
    "ssim": ("SSIM", "higher", "structural similarity to the true image, 1 for the same"),
    "mae": ("MAE", "lower", "mean absolute error to the true image, gray levels 0 to 255"),
    "lpips": ("LPIPS", "lower", "perceptual distance to the true image"),
    "mae_teacher": (
        "MAE to teacher",
        "lower",
        "mean absolute error to the teacher's image of the same input, gray levels",
    ),
    "lpips_teacher": ("LPIPS to teacher", "lower", "perceptual distance to the teacher's image of the same input"),
    "vol": ("VoL", "none", "variance of the Laplacian: sharpness of the images"),
    "vol_ratio": ("VoL ratio", "none", "sharpness relative to the teacher on the same inputs; 1 is equal"),
}


_SPREADS = {"std": "std", "error": "std. error", "low": "95 % low", "high": "95 % high"}


@dataclass(frozen=True)
class MetricName:
    """What a metric name says: `fid_1000_test_judge` is FID, lower is better, 1000 images, test split, by the judge."""

    raw: str
    base: str
    """`is`, `fid`, …; the raw name itself where it is not a quality metric."""
    title: str
    direction: Direction
    meaning: str
    images: int | None = None
    split: str | None = None
    judge: str | None = None
    is_spread: bool = False
    """Whether this is the spread of a metric, or an end of its interval, and not the metric."""
    is_bound: bool = False
    """Whether this is an end of an interval."""
    aspect: str = ""
    """`difference` to the teacher, or `ceiling`: what real images score; empty of the metric itself."""

    @property
    def is_measurement(self) -> bool:
        """Whether this is the metric itself."""
        return not self.is_spread and not self.aspect

    @property
    def arrow(self) -> str:
        """`↑` where higher is better, `↓` where lower is better."""
        return {"higher": "↑", "lower": "↓", "none": ""}[self.direction]

    @property
    def protocol(self) -> str:
        """Sample count, split and judge, for a column heading."""
        parts = [f"{self.images:,} images" if self.images else "", self.split or "", self.judge or ""]
        return " · ".join(part for part in parts if part)

    @property
    def heading(self) -> str:
        """Title, direction and protocol in one line."""
        title = f"{self.title} {self.arrow}".strip()
        return f"{title} ({self.protocol})" if self.protocol else title

    def better(self, value: float, than: float) -> bool:
        """Whether `value` is better than `than`; False where neither direction is better."""
        return value > than if self.direction == "higher" else self.direction == "lower" and value < than


def parse_metric_name(raw: str) -> MetricName:
    """Read a metric's protocol from its name; an unknown name stays as it is."""
    match = _NAME.fullmatch(raw)
    if match is None:
        return MetricName(raw, raw, raw, "none", "")
    title, direction, meaning = _TITLES[match["base"]]
    spread = match["spread"] or match["late_spread"]
    images = int(match["images"]) if match["images"] else None
    if spread:
        kind = _SPREADS[spread]
        title, direction, meaning = f"{title} {kind}", "none", f"spread of {title}"
    return MetricName(
        raw,
        match["base"],
        title,
        direction,
        meaning,
        images,
        match["split"],
        match["judge"],
        is_spread=bool(spread),
        is_bound=spread in ("low", "high"),
        aspect=match["aspect"] or "",
    )


def write_count(value: float) -> str:
    """Write a whole number with thousands: `28,351`."""
    return f"{round(value):,}"


def write_compact(value: float) -> str:
    """Write a magnitude in three figures: `28.4 k`, `1.10 M`, `56.8 G`."""
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= factor * 0.9995:
            return _figures(value / factor) + unit
    return _figures(value)


def write_bytes(value: float) -> str:
    """Write a file size in decimal units, as `1 kB` = 1000 bytes."""
    return f"{round(value)} B" if value < 999.5 else f"{write_compact(value)}B"


def write_ratio(value: float) -> str:
    """Write a ratio in three figures: `12.3×`."""
    return f"{write_count(value) if value >= 99.95 else _figures(value)}×"


def write_share(value: float) -> str:
    """Write a share in percent: `98.2 %`."""
    return f"{100 * value:.1f} %"


def write_milliseconds(value: float) -> str:
    """Write milliseconds in three figures."""
    return _figures(value)


def write_score(value: float) -> str:
    """Write a quality metric: three decimals, more only where they would all be zero."""
    if value == 0 or abs(value) >= 0.0995:
        return f"{value:.3f}" if abs(value) < 100 else f"{value:,.1f}"
    return f"{value:.4f}" if abs(value) >= 0.00095 else f"{value:.5f}" if abs(value) >= 0.000095 else f"{value:.1e}"


def _figures(value: float) -> str:
    """Write three significant figures without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    value = float(f"{value:.2e}")  # rounding first: 9.996 has as many decimals as 10.0
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}" if decimals <= 6 else f"{value:.2e}"
