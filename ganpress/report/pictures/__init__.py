"""Rows of generated images in the report."""
