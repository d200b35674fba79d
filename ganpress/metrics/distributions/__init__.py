"""Distances between distributions of features, and the Inception Score."""
