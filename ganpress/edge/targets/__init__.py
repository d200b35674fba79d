"""One module for each edge target, with its properties; code that works on networks is in separate modules."""
