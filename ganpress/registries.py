"""Tables of all metrics, targets, compressors, data sources and so on by name; other packages extend each through
entry points.

An entry is a name and the place where its object is defined; docs/extending.md shows how another package adds one.
"""

from typing import TYPE_CHECKING

from ganpress.errors import ConfigError
from models.registry import Registry

if TYPE_CHECKING:
    from ganpress.compression.compressor import Compressor
    from ganpress.data.sources.source import Source
    from ganpress.edge.targets.target import Target
    from ganpress.metrics.metric import Metric
    from ganpress.training.distances.distance import Distance

METRICS: Registry["Metric"] = Registry(
    "metric",
    "ganpress.metrics",
    "ganpress.metrics.metric:Metric",
    ConfigError,
    {
        "is": "ganpress.metrics.definitions.class_metrics:INCEPTION_SCORE",
        "fid": "ganpress.metrics.definitions.distance_metrics:FID",
        "kid": "ganpress.metrics.definitions.distance_metrics:KID",
        "precision": "ganpress.metrics.definitions.neighbour_metrics:PRECISION",
        "recall": "ganpress.metrics.definitions.neighbour_metrics:RECALL",
        "density": "ganpress.metrics.definitions.neighbour_metrics:DENSITY",
        "coverage": "ganpress.metrics.definitions.neighbour_metrics:COVERAGE",
        "precision_lsh": "ganpress.metrics.definitions.neighbour_metrics:PRECISION_LSH",
        "recall_lsh": "ganpress.metrics.definitions.neighbour_metrics:RECALL_LSH",
        "precision_lshknn": "ganpress.metrics.definitions.neighbour_metrics:PRECISION_LSHKNN",
        "recall_lshknn": "ganpress.metrics.definitions.neighbour_metrics:RECALL_LSHKNN",
        "miou": "ganpress.metrics.definitions.truth_metrics:MIOU",
        "pixel_accuracy": "ganpress.metrics.definitions.truth_metrics:PIXEL_ACCURACY",
        "mae": "ganpress.metrics.definitions.truth_metrics:MAE",
        "psnr": "ganpress.metrics.definitions.truth_metrics:PSNR",
        "ssim": "ganpress.metrics.definitions.truth_metrics:SSIM",
        "lpips": "ganpress.metrics.definitions.truth_metrics:LPIPS",
        "mae_teacher": "ganpress.metrics.definitions.teacher_metrics:MAE_TEACHER",
        "lpips_teacher": "ganpress.metrics.definitions.teacher_metrics:LPIPS_TEACHER",
        "vol": "ganpress.metrics.definitions.teacher_metrics:VOL",
        "vol_ratio": "ganpress.metrics.definitions.teacher_metrics:VOL_RATIO",
        "feature_distance": "ganpress.metrics.definitions.step_metrics:FEATURE_DISTANCE",
        "class_kept": "ganpress.metrics.definitions.step_metrics:CLASS_KEPT",
        "modes_kept": "ganpress.metrics.definitions.step_metrics:MODES_KEPT",
        "parameters": "ganpress.metrics.definitions.cost_metrics:PARAMETERS",
        "macs_exact": "ganpress.metrics.definitions.cost_metrics:MACS_EXACT",
        "macs_torchprofile": "ganpress.metrics.definitions.cost_metrics:MACS_TORCHPROFILE",
        "size_bytes": "ganpress.metrics.definitions.cost_metrics:SIZE_BYTES",
        "latency_ms_p50": "ganpress.metrics.definitions.cost_metrics:LATENCY_P50",
        "latency_ms_p95": "ganpress.metrics.definitions.cost_metrics:LATENCY_P95",
        "latency_ms_p50_batch64": "ganpress.metrics.definitions.cost_metrics:LATENCY_BATCH",
        "latency_ratio": "ganpress.metrics.definitions.cost_metrics:LATENCY_RATIO",
        "latency_threads": "ganpress.metrics.definitions.cost_metrics:LATENCY_THREADS",
        "peak_memory_bytes": "ganpress.metrics.definitions.cost_metrics:PEAK_MEMORY",
        "gmacs_per_s": "ganpress.metrics.definitions.cost_metrics:GMACS_PER_S",
        "share_of_peak": "ganpress.metrics.definitions.cost_metrics:SHARE_OF_PEAK",
    },
)
"""Metrics, in the order in which tables show them."""

TARGETS: Registry["Target"] = Registry(
    "target",
    "ganpress.targets",
    "ganpress.edge.targets.target:Target",
    ConfigError,
    {
        "onnx": "ganpress.edge.targets.onnx_target:TARGET",
        "openvino": "ganpress.edge.targets.openvino_target:TARGET",
        "executorch": "ganpress.edge.targets.executorch_target:TARGET",
        "executorch_vulkan": "ganpress.edge.targets.executorch_vulkan_target:TARGET",
        "executorch_coreml": "ganpress.edge.targets.executorch_coreml_target:TARGET",
        "c": "ganpress.edge.targets.c_target:TARGET",
        "qnn": "ganpress.edge.targets.qnn_target:TARGET",
        "mnn": "ganpress.edge.targets.mnn_target:TARGET",
        "ncnn": "ganpress.edge.targets.ncnn_target:TARGET",
        "coreml": "ganpress.edge.targets.coreml_target:TARGET",
        "litert": "ganpress.edge.targets.litert_target:TARGET",
        "tensorrt": "ganpress.edge.targets.tensorrt_target:TARGET",
        "webgpu": "ganpress.edge.targets.webgpu_target:TARGET",
    },
)
"""Targets, as named in `export.items.X.target`; the packages of a target are imported when it is used."""

SOURCES: Registry["Source"] = Registry(
    "data source",
    "ganpress.data",
    "ganpress.data.sources.source:Source",
    ConfigError,
    {
        "digits": "ganpress.data.sources.known_sources:DIGITS",
        "mnist": "ganpress.data.sources.known_sources:MNIST",
        "fashion-mnist": "ganpress.data.sources.known_sources:FASHION_MNIST",
        "cifar10": "ganpress.data.sources.known_sources:CIFAR10",
        "celeba": "ganpress.data.sources.known_sources:CELEBA",
        "horse2zebra": "ganpress.data.sources.known_sources:HORSE2ZEBRA",
        "edges2shoes": "ganpress.data.sources.known_sources:EDGES2SHOES",
        "maps": "ganpress.data.sources.known_sources:MAPS",
        "facades": "ganpress.data.sources.known_sources:FACADES",
        "cityscapes": "ganpress.data.sources.known_sources:CITYSCAPES",
        "scenes": "ganpress.data.sources.known_sources:SCENES",
    },
)
"""Data sources, as named in `data.source`; kinds with a path or a base are in `ganpress.data.raw.dataset_card`."""

COMPRESSORS: Registry["Compressor"] = Registry(
    "compressor",
    "ganpress.compressors",
    "ganpress.compression.compressor:Compressor",
    ConfigError,
    {
        "prune_channels": "ganpress.compression.algorithms.channel_pruning:PRUNE_CHANNELS",
        "prune": "ganpress.compression.algorithms.weight_pruning:PRUNE",
        "quantize": "ganpress.compression.algorithms.linear_quantization:QUANTIZE",
        "qad": "ganpress.compression.algorithms.quantization_aware:QAD",
    },
)
"""Compressors, as `name` in `compress.items.X.method`."""

DISTANCES: Registry["Distance"] = Registry(
    "distance",
    "ganpress.distances",
    "ganpress.training.distances.distance:Distance",
    ConfigError,
    {
        "squared": "ganpress.training.distances.pixel_distances:SQUARED",
        "absolute": "ganpress.training.distances.pixel_distances:ABSOLUTE",
        "wavelet": "ganpress.training.distances.wavelet_distance:WAVELET",
        "activations": "ganpress.training.distances.feature_distances:ACTIVATIONS",
        "dime": "ganpress.training.distances.feature_distances:DIME",
    },
)
"""Distances between the images of student and teacher, as named in `student.items.X.distances`. No other setting has
one of these names as a value, so stages with such a setting do not run again when a distance is edited.
"""
