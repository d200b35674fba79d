"""Exported files on pictures of any size."""
