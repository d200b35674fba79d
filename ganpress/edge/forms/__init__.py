"""Forms of a network that compute the same and run faster on a target."""
