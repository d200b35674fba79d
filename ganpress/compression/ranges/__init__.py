"""Ranges of activations and weights, and their clipping."""
