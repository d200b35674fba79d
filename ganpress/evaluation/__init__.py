"""Measurement of finished generators, and of generators at one level of compression."""
