"""Distances between a student's and its teacher's images, from which `student.items.X.distances` mixes a loss."""
