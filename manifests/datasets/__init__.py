"""Facts about every supported dataset, one file each; ``semblance.ingest.sources`` reads their layouts."""

from semblance.manifests.datasets.records import (
    DATASETS,
    DEFAULT,
    Basis,
    DatasetInfo,
    Datasheet,
    Fractions,
    Labels,
    Release,
    register,
)

DATASETS.discover(__name__, __path__)

__all__ = [
    "DATASETS",
    "DEFAULT",
    "Basis",
    "DatasetInfo",
    "Datasheet",
    "Fractions",
    "Labels",
    "Release",
    "register",
]
