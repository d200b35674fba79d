"""Bit widths of layers: their sensitivity, and the choice under a budget."""
