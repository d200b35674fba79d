"""Rounding weights and layers to integers."""
