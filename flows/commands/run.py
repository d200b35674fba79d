"""`ganpress run`."""


def run() -> None:
    """Being written."""
