"""Constants of the ONNX files, for modules that do not write them."""

OPSET = 20
IR_VERSION = 10
"""Versions that the oldest supported runtime (onnxruntime 1.22) reads."""
INSIDE_PERCENT = 99.99
"""Of each activation's values inside its range: gains 6 dB over the full range on generators with instance norms."""
