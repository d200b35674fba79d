"""A row of a benchmark that is repeated with several seeds."""

import statistics
from collections.abc import Sequence


def show_row(name: str, found: Sequence[dict[str, float]], seconds: float, width: int = 24) -> None:
    """Print mean, least and most of each number.

    Args:
        name: what was done.
        found: the numbers of each seed.
        seconds: of the processor, of one seed.
        width: characters of the first column.
    """
    parts = []
    for key in found[0]:
        values = [one[key] for one in found]
        parts.append(f"{key} {statistics.fmean(values):.4g} [{min(values):.4g}, {max(values):.4g}]")
    print(f"{name:<{width}} {'  '.join(parts)}  {seconds:.0f} CPU s", flush=True)
