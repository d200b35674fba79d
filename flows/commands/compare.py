"""`ganpress compare`."""


def compare() -> None:
    """Being written."""
