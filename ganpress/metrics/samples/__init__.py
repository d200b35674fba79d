"""What metrics are measured on: images of generators, their features and their targets."""
