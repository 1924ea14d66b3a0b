"""What a service is sent, where to, and under which terms: told before the first byte, refused without consent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import polars as pl

from semblance.manifests import build_files
from semblance.manifests.datasets import DATASETS
from semblance.manifests.errors import UsageError
from semblance.training.data.query import Selection
from semblance.training.evaluation.external.detector import External
from semblance.training.evaluation.external.service import Service

_UNKNOWN: Final = "its terms are not known: read them first"


def announce(
    externals: Sequence[External], selections: Sequence[Selection], *, times: int = 1, say: Callable[[str], None]
) -> None:
    """Say what each service is sent, where to, and under which terms. ``times``: how often, in altered forms.

    Raises UsageError for a service that may not be asked; then nothing was sent.
    """
    for one in externals:
        if not isinstance(one.source, Service):
            continue
        often = [f"in {times} altered forms"] if times > 1 else []
        words = ", ".join([counted(selections), *often, *one.more])
        open_ = " over a connection that is not encrypted" if one.source.exposed else ""
        told = f"{words}, to {one.source.address}{open_}; {terms(selections)}"
        if not one.source.send:
            raise UsageError(f"{one.name} is a service, and nothing was sent: --send sends it {told}.")
        say(f"{one.name} is sent {told}")


def counted(selections: Sequence[Selection]) -> str:
    """How many face crops of how many videos, in all and by build and split."""
    parts: list[str] = []
    crops = 0
    videos: set[tuple[str, str]] = set()
    for selection in selections:
        for source, out in enumerate(selection.outs):
            rows = selection.pictures.filter(pl.col("source") == source)
            ids = set(rows["video_id"].to_list())
            parts.append(f"{selection.split} of {out}: {rows.height} of {len(ids)}")
            crops, videos = crops + rows.height, videos | {(out, name) for name in ids}
    return f"{crops} face crops of {len(videos)} videos ({', '.join(parts)})"


def terms(selections: Sequence[Selection]) -> str:
    """The terms of every dataset among the builds, as their datasheets state them."""
    told: dict[str, str] = {}
    for out in dict.fromkeys(out for selection in selections for out in selection.outs):
        described = build_files.description(out)
        dataset = str(described.get("dataset", "unknown"))
        known = DATASETS[dataset].datasheet.terms if dataset in DATASETS else None
        told.setdefault(dataset, str(described.get("datasheet", {}).get("terms") or known or _UNKNOWN))
    return "; ".join(f"terms of {dataset}: {text.rstrip('.')}" for dataset, text in told.items())
