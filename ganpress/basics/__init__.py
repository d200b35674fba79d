"""What every package uses and nobody else offers: seeds, progress, whole writes, pixels, guards of servers."""
