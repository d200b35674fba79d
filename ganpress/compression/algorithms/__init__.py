"""The built-in compression algorithms, each one value; what computes them is imported when it is called."""
