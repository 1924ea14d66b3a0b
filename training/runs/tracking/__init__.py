"""Experiment tracking: the only user of MLflow and Weights & Biases, for recipes, datasets, figures and files.

By default the runs of a folder share one MLflow store, which lies beside them::

    runs/mlflow.db          the store: ``mlflow ui --backend-store-uri sqlite:///runs/mlflow.db`` shows it
    runs/mlflow/            files that belong to its runs: recipe, datasets, evaluation pages
    runs/resnet50/run.json  the store and the id of this run in it, for resuming and for evaluations
"""

from __future__ import annotations

from semblance.training.runs.tracking.base import Reference, Tracker
from semblance.training.runs.tracking.doors import BESIDE, begin, check, reopen

__all__ = ["BESIDE", "Reference", "Tracker", "begin", "check", "reopen"]
