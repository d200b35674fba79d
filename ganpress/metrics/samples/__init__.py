"""Inputs of metrics: images of generators, their features and their targets."""
