"""Prepared data below `artifacts/`: made from raw data, and read by trainers and metrics."""
