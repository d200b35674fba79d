"""Rounds weights and layers to integers."""
