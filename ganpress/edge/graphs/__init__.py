"""ONNX graphs: writing, rewriting, and number types."""
