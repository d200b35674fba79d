"""`ganpress serve`."""


def serve() -> None:
    """Being written."""
