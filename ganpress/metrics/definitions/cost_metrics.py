"""Size and speed, which hold on any data."""

from functools import partial

from ganpress.metrics.metric import Metric

_cost = partial(Metric, is_cost=True)
PARAMETERS = _cost("parameters", "Parameters", "weights and biases", "lower")
MACS_EXACT = _cost("macs_exact", "MACs", "multiply-accumulates that one image takes", "lower")
MACS_TORCHPROFILE = _cost("macs_torchprofile", "MACs", "as published tables count them", "lower")
SIZE_BYTES = _cost(
    "size_bytes", "File", "generator.safetensors or the edge file, 1 kB = 1000 bytes", "lower", unit="bytes"
)
LATENCY_P50 = _cost("latency_ms_p50", "p50 ms", "median wall time of one image", "lower", unit="ms")
LATENCY_P95 = _cost("latency_ms_p95", "p95 ms", "wall time of one image, of 95 in 100 calls", "lower", unit="ms")
LATENCY_BATCH = _cost("latency_ms_p50_batch64", "p50 ms", "median wall time of 64 images", "lower", unit="ms")
LATENCY_RATIO = _cost("latency_ratio", "faster", "speed-up in the same run", "higher")
LATENCY_THREADS = _cost("latency_threads", "threads", "of a timed generator", "none")
PEAK_MEMORY = _cost("peak_memory_bytes", "Peak memory", "to load the runtime and the file and run it", "lower")
GMACS_PER_S = Metric("gmacs_per_s", "GMACs/s", "", "higher")
SHARE_OF_PEAK = Metric("share_of_peak", "Share of peak", "", "higher", (0.0, 1.0))
