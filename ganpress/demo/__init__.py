"""The page that runs an exported generator beside its compressed form in a browser."""
