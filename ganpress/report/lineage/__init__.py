"""The lineage of the chain's files as a graph, and its picture."""
