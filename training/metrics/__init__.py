"""Metrics of classification, aggregation to tracks and videos, confidence intervals.

A file in this folder that registers a metric is one.
"""

from semblance.training.metrics.registry import METRICS

METRICS.discover(__name__, __path__)
