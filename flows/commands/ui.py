"""`ganpress ui`."""


def ui() -> None:
    """Being written."""
