"""A generator of yours as a proven edge file in one call, without a project."""
