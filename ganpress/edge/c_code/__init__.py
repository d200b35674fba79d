"""Generators as C99 source for microcontrollers."""
