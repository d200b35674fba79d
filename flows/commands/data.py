"""`ganpress data`."""


def data() -> None:
    """Being written."""
