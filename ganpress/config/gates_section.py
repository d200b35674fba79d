"""The section of limits on measured results."""

from typing import Literal

from ganpress.config.base import Section
from ganpress.config.bounds import Milliseconds, Share


class GatesConfig(Section):
    """Limits on measured results; a run that breaks one keeps its outputs and ends with code 2. None sets no limit.

    Those of the teacher stand in the section `teacher`: who compresses a poor one wants to stop before the hours of it.
    """

    min_student_share: Share | None = None
    """Smallest share of the teacher's score that students and the sub-generator keep, by the metric that decides."""
    min_shipped_share: Share | None = None
    """Smallest share of the teacher's score that the edge file to ship keeps, by the same metric."""
    min_file_share: Share | None = None
    """Smallest share of its generator's score that every edge file keeps, by the metric that decides."""
    min_class_share: Share | None = None
    """Smallest share of its even part that each class has among the pictures of every edge file, as a `classifier`
    judge sees them; 0.01 finds a class that is no longer drawn."""
    max_latency_ms: Milliseconds | None = None
    """Longest median time of one picture in the edge file to ship, on one core of the machine that evaluates."""
    champion: Literal["warn", "fail"] | None = None
    """What happens where the file to ship is worse than the registered champion beyond the interval of the rule of
    promotion: a line in the report, or the end of the run."""

    @property
    def has_limits(self) -> bool:
        """Whether anything is to be judged."""
        return self != GatesConfig()
