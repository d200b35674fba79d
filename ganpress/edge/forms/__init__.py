"""Equivalent forms of a network that run faster on a target."""
