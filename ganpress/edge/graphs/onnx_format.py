"""Numbers of the ONNX files, for whoever does not write one."""

OPSET = 20
IR_VERSION = 10
"""What the oldest supported runtime (onnxruntime 1.22) reads."""
INSIDE_PERCENT = 99.99
"""Of each activation's values inside its range: gains 6 dB over the full range on generators with instance norms."""
