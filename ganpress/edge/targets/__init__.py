"""One module for each edge target, with its facts; code that works on networks is in modules beside it."""
