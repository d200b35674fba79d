"""The data gate: what raw data must fulfil before anything is trained on them."""
