"""Networks made ready to be rounded: their layers found, folded and equalized."""
