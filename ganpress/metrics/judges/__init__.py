"""The networks that metrics look through, built in or from files."""
