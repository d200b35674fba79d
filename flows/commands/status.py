"""`ganpress status`."""


def status() -> None:
    """Being written."""
