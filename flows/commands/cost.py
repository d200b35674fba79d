"""`ganpress cost`."""


def cost() -> None:
    """Being written."""
