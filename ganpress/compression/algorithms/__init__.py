"""The built-in compression algorithms, one value for each; the code that computes them is imported when it is
called.
"""
