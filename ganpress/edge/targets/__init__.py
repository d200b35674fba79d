"""One module for each edge target, with its facts; what works on networks stands in modules beside it."""
