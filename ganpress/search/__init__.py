"""Search for sub-generators of a supernet by score and cost."""
