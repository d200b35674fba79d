"""Confidence intervals of metrics, and of differences between two generators."""
