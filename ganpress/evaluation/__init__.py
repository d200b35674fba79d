"""Measures finished generators, and generators at one level of compression."""
