"""The proof that an edge file is good: fidelity, kernels, memory, and the card that says so."""
