"""Prepares networks for quantization: finds, folds and equalizes their layers."""
