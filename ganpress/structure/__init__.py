"""Analyses the structure of any network: its groups of channels, and its input and output."""
