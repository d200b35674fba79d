"""Data sources and the acquisition of their raw data."""
