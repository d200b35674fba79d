"""What a generator costs on any machine, and how long it takes on this one."""
