"""Compresses a user's generator into a verified edge file in one call, without a project."""
