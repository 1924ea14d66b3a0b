"""The table of what is lost between plan and training, for builds and audits on the console."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from semblance.manifests.console import plain
from semblance.quality.checks.shares import NAMES, Row, Shares, listed


def table(shares: Shares) -> Table:
    """One row per label and method: videos without a kept crop and why, kept crops without a face label and why.

    What labelled the faces, and how many persons there are, is shown where the build has these columns.
    """
    ruled, followed, explained = (
        any(getattr(row, name) for row in shares.rows) for name in ("rules", "persons", "reasons")
    )
    found = Table(title="lost before training")
    for head in ("label", "method"):
        found.add_column(head)
    for head in ("videos", "no crop", "%"):
        found.add_column(head, justify="right")
    found.add_column("why")
    for head in ("crops", *(["persons"] if followed else []), "no face label", "%"):
        found.add_column(head, justify="right")
    if explained:
        found.add_column("why not")
    if ruled:
        found.add_column("labelled by")
    for row in shares.rows:
        persons = [f"{row.persons or 0:,}"] if followed else []
        rules = [listed(row.rules)] if ruled else []
        reasons = [listed(row.reasons)] if explained else []
        name = Text(plain(row.method)[:60])
        found.add_row(NAMES[row.label], name, *_lost(row), *_crops(row, persons), *reasons, *rules)
    return found


def _lost(row: Row) -> list[str]:
    share = f"{row.lost_share:.1%}" if row.videos else ""
    return [f"{row.videos:,}", f"{row.lost:,}", share, listed(row.causes)]


def _crops(row: Row, persons: list[str]) -> list[str]:
    """Cells of the kept crops: their number, their persons, and, of fakes, those without a face label."""
    unlabelled = [f"{row.unlabelled:,}", f"{row.unlabelled_share:.1%}"] if row.label == 1 and row.crops else ["", ""]
    return [f"{row.crops:,}", *persons, *unlabelled]
