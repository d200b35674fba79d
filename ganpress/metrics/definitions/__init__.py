"""The built-in metrics, each one value; what computes them is imported when it is called."""
