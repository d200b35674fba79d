"""Basic functions that all packages use: seeds, progress, atomic writes, pixel values and the guard of servers."""
