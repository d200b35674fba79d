"""Ranges of activations and weights, and where to clip them."""
