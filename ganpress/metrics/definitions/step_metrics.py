"""Metrics of the changes of single images by a compression or export; `ganpress.metrics.samples.sample_changes`
measures them.
"""

from ganpress.metrics.metric import Metric

FEATURE_DISTANCE = Metric(
    "feature_distance",
    "Change",
    "mean distance of an image's features before and after the step, in spreads of the set before",
    "lower",
    needs=("judge",),
)
CLASS_KEPT = Metric(
    "class_kept",
    "Class kept",
    "share of images whose class the step did not change",
    "higher",
    (0.0, 1.0),
    needs=("judge", "classes"),
)
MODES_KEPT = Metric(
    "modes_kept",
    "Modes kept",
    "share of neighbourhoods before the step that are still drawn after it",
    "higher",
    (0.0, 1.0),
    needs=("judge",),
)
