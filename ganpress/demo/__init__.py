"""The page that runs an exported generator beside its compressed version in a browser."""
