"""The packed file: b bits per weight, entropy coded."""
