"""Functions that several stages share; each stage is one module beside this package."""
