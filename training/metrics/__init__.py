"""Classification metrics, and aggregation of scores to persons and videos.

Modules of this folder that register a metric are found and imported.
"""

from semblance.training.metrics.registry import METRICS

METRICS.discover(__name__, __path__)
