"""Runs exported files on pictures of any size."""
