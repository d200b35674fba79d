"""Constants of ONNX files, importable without the code that writes them."""

OPSET = 20
IR_VERSION = 10
"""IR version that the oldest supported runtime (onnxruntime 1.22) reads."""
INSIDE_PERCENT = 99.99
"""Percentage of an activation's values inside its range; on generators with instance normalisation this gains 6 dB
over the full range.
"""
