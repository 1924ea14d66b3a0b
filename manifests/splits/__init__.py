"""The split protocols, table to table: which split every video belongs to, and why some belong to none."""

from semblance.manifests.splits.assignment import (
    COLUMNS,
    Assigned,
    DatasetTraits,
    Protocol,
    ProtocolNotes,
    SplitConfig,
    activate,
    assign,
    hold_out,
    methods_of,
    over_time,
    plan_frame,
    to_videos,
)

__all__ = [
    "COLUMNS",
    "Assigned",
    "DatasetTraits",
    "Protocol",
    "ProtocolNotes",
    "SplitConfig",
    "activate",
    "assign",
    "hold_out",
    "methods_of",
    "over_time",
    "plan_frame",
    "to_videos",
]
