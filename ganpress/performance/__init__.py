"""The cost of a generator on any machine, and its latency on this one."""
