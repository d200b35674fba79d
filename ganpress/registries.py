"""What ganpress has several of, by name: one table a kind, each open to other packages through its entry points.

An entry is a name and where its object is defined; docs/extending.md shows how another package adds one.
"""

from typing import TYPE_CHECKING

from ganpress.errors import ConfigError
from models.registry import Registry

if TYPE_CHECKING:
    from ganpress.compression.compressor import Compressor
    from ganpress.data.source import Source
    from ganpress.edge.targets.target import Target
    from ganpress.metrics.metric import Metric

METRICS: Registry["Metric"] = Registry(
    "metric",
    "ganpress.metrics",
    "ganpress.metrics.metric:Metric",
    ConfigError,
    {
        "is": "ganpress.metrics.definitions.classes:INCEPTION_SCORE",
        "fid": "ganpress.metrics.definitions.distances:FID",
        "kid": "ganpress.metrics.definitions.distances:KID",
        "precision": "ganpress.metrics.definitions.neighbourhoods:PRECISION",
        "recall": "ganpress.metrics.definitions.neighbourhoods:RECALL",
        "density": "ganpress.metrics.definitions.neighbourhoods:DENSITY",
        "coverage": "ganpress.metrics.definitions.neighbourhoods:COVERAGE",
        "precision_lsh": "ganpress.metrics.definitions.neighbourhoods:PRECISION_LSH",
        "recall_lsh": "ganpress.metrics.definitions.neighbourhoods:RECALL_LSH",
        "precision_lshknn": "ganpress.metrics.definitions.neighbourhoods:PRECISION_LSHKNN",
        "recall_lshknn": "ganpress.metrics.definitions.neighbourhoods:RECALL_LSHKNN",
        "miou": "ganpress.metrics.definitions.truth:MIOU",
        "pixel_accuracy": "ganpress.metrics.definitions.truth:PIXEL_ACCURACY",
        "mae": "ganpress.metrics.definitions.truth:MAE",
        "psnr": "ganpress.metrics.definitions.truth:PSNR",
        "ssim": "ganpress.metrics.definitions.truth:SSIM",
        "lpips": "ganpress.metrics.definitions.truth:LPIPS",
        "mae_teacher": "ganpress.metrics.definitions.teacher:MAE_TEACHER",
        "lpips_teacher": "ganpress.metrics.definitions.teacher:LPIPS_TEACHER",
        "vol": "ganpress.metrics.definitions.teacher:VOL",
        "vol_ratio": "ganpress.metrics.definitions.teacher:VOL_RATIO",
        "feature_distance": "ganpress.metrics.definitions.steps:FEATURE_DISTANCE",
        "class_kept": "ganpress.metrics.definitions.steps:CLASS_KEPT",
        "modes_kept": "ganpress.metrics.definitions.steps:MODES_KEPT",
        "parameters": "ganpress.metrics.definitions.costs:PARAMETERS",
        "macs_exact": "ganpress.metrics.definitions.costs:MACS_EXACT",
        "macs_torchprofile": "ganpress.metrics.definitions.costs:MACS_TORCHPROFILE",
        "size_bytes": "ganpress.metrics.definitions.costs:SIZE_BYTES",
        "latency_ms_p50": "ganpress.metrics.definitions.costs:LATENCY_P50",
        "latency_ms_p95": "ganpress.metrics.definitions.costs:LATENCY_P95",
        "latency_ms_p50_batch64": "ganpress.metrics.definitions.costs:LATENCY_BATCH",
        "latency_ratio": "ganpress.metrics.definitions.costs:LATENCY_RATIO",
        "latency_threads": "ganpress.metrics.definitions.costs:LATENCY_THREADS",
        "peak_memory_bytes": "ganpress.metrics.definitions.costs:PEAK_MEMORY",
        "gmacs_per_s": "ganpress.metrics.definitions.costs:GMACS_PER_S",
        "share_of_peak": "ganpress.metrics.definitions.costs:SHARE_OF_PEAK",
    },
)
"""In the order in which tables show them."""

TARGETS: Registry["Target"] = Registry(
    "target",
    "ganpress.targets",
    "ganpress.edge.targets.target:Target",
    ConfigError,
    {
        "onnx": "ganpress.edge.targets.onnx_target:TARGET",
        "openvino": "ganpress.edge.targets.openvino_target:TARGET",
        "executorch": "ganpress.edge.targets.executorch_target:TARGET",
    },
)
"""As in `export.items.X.target`; each one's packages are imported when it is used."""

SOURCES: Registry["Source"] = Registry(
    "data source",
    "ganpress.data",
    "ganpress.data.source:Source",
    ConfigError,
    {
        "digits": "ganpress.data.known_sources:DIGITS",
        "mnist": "ganpress.data.known_sources:MNIST",
        "fashion-mnist": "ganpress.data.known_sources:FASHION_MNIST",
        "cifar10": "ganpress.data.known_sources:CIFAR10",
        "celeba": "ganpress.data.known_sources:CELEBA",
        "horse2zebra": "ganpress.data.known_sources:HORSE2ZEBRA",
        "edges2shoes": "ganpress.data.known_sources:EDGES2SHOES",
        "maps": "ganpress.data.known_sources:MAPS",
        "facades": "ganpress.data.known_sources:FACADES",
        "cityscapes": "ganpress.data.known_sources:CITYSCAPES",
        "scenes": "ganpress.data.known_sources:SCENES",
    },
)
"""As in `data.source`; kinds that name a path or a base stand in `ganpress.data.card`."""

COMPRESSORS: Registry["Compressor"] = Registry(
    "compressor", "ganpress.compressors", "ganpress.compression.compressor:Compressor", ConfigError, {}
)
"""As in `compress.items.X.method.name`; what ganpress itself does stands in the other options of an item."""
