"""The section of limits on measured results."""

from typing import Literal

from ganpress.config.base import Section
from ganpress.config.bounds import Milliseconds, Share


class GatesConfig(Section):
    """Limits on measured results; a run that breaks one keeps its outputs and ends with code 2. None sets no limit.

    Limits on the teacher are in the section `teacher`, because a poor teacher should stop the run before hours of
    compression.
    """

    min_student_share: Share | None = None
    """Smallest share of the teacher's score that students and the sub-generator keep, by the deciding metric."""
    min_shipped_share: Share | None = None
    """Smallest share of the teacher's score that the edge file to ship keeps, by the same metric."""
    min_file_share: Share | None = None
    """Smallest share of its generator's score that every edge file keeps, by the metric that decides."""
    min_class_share: Share | None = None
    """Smallest share of each class among the pictures of every edge file, relative to an even share, as a `classifier`
    judge classifies them; 0.01 detects a class that is no longer generated."""
    max_latency_ms: Milliseconds | None = None
    """Longest median time of one picture in the edge file to ship, on one core of the machine that evaluates."""
    champion: Literal["warn", "fail"] | None = None
    """Effect if the file to ship is worse than the registered champion by more than the interval of the promotion
    rule: a line in the report, or a failed run."""

    @property
    def has_limits(self) -> bool:
        """Return whether any limit is set."""
        return self != GatesConfig()
