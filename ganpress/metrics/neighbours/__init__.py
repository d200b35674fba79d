"""Metrics of nearest neighbours: exact, with bounds, and by hashing."""
