"""The split protocols, table to table: which split every video belongs to, and why some belong to none."""

from semblance.manifests.splits.assignment import (
    Assigned,
    ProtocolNotes,
    activate,
    assign,
    hold_out,
    methods_of,
    named,
    over_time,
    plan_frame,
    to_videos,
)
from semblance.manifests.splits.config import COLUMNS, DatasetTraits, Protocol, SplitConfig
from semblance.manifests.splits.estimated import Estimate, Estimates

__all__ = [
    "COLUMNS",
    "Assigned",
    "DatasetTraits",
    "Estimate",
    "Estimates",
    "Protocol",
    "ProtocolNotes",
    "SplitConfig",
    "activate",
    "assign",
    "hold_out",
    "methods_of",
    "named",
    "over_time",
    "plan_frame",
    "to_videos",
]
