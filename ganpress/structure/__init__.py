"""The structure of any network: its groups of channels, and whether it reads and draws what it should."""
