"""Data sources: what they are, and how each one's raw data are acquired."""
