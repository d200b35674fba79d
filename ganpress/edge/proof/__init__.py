"""Verification of edge files: fidelity, kernels and memory, and the card that records them."""
