"""The data gate: checks that raw data must pass before anything is trained on it."""
