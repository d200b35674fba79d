"""The packed file: b bits a weight, entropy coded."""
