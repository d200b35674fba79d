"""How many bits each layer needs: its sensitivity, and the choice under a budget."""
