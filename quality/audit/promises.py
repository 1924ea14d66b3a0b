"""What the active split promises, what it cannot show, and what it does not promise, in words for every page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from semblance.manifests import leaks
from semblance.quality.builds import Audited


@dataclass(frozen=True, slots=True, kw_only=True)
class Promises:
    """Kinds of ids (``leaks.WORDS``): ``kept`` apart and known, ``unproven``: promised, but no video names one, and
    ``open``: not promised.
    """

    kept: tuple[str, ...]
    unproven: tuple[str, ...]
    open: tuple[str, ...]


def of(build: Audited, figures: pl.DataFrame | None) -> Promises:
    """The promises of a build's active split; ``figures``: ``overlap.figures`` of it, None if it is empty."""
    rows = [] if figures is None else figures.select("kind", "known").rows()
    known = {kind for kind, count in rows if count}
    promised = tuple(build.promise)
    return Promises(
        kept=tuple(kind for kind in promised if kind in known),
        unproven=tuple(kind for kind in promised if kind not in known),
        open=leaks.unpromised(build.plan, build.protocol, build.against),
    )


def caveat(promises: Promises) -> str:
    """``not promised: people and recordings; unknown: families``; empty if all is promised and known."""
    parts = [f"not promised: {joined(promises.open)}"] if promises.open else []
    parts += [f"promised, but not one is named: {joined(promises.unproven)}"] if promises.unproven else []
    return "; ".join(parts)


def joined(kinds: Sequence[str]) -> str:
    """``families, people and recordings``."""
    words = [leaks.WORDS[kind] for kind in kinds]
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)
