"""`ganpress doctor`."""


def doctor() -> None:
    """Being written."""
