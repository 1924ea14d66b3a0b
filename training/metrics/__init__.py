"""Metrics of classification, aggregation to tracks and videos, confidence intervals."""
