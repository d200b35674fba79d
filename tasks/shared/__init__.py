"""What several stages share; each stage has one module beside this package."""
