"""Names of the files that `evaluate` writes about single samples and `report` reads."""

TABLE = "samples.csv"
"""Table with one row for each sample and step."""
PICTURES = "samples.npz"
"""The worst samples of each step, as `<reference>/before` and `<reference>/after`."""
