"""Whether a build can be trusted: its laws, what it covers, and every leak that its rows and pictures can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import polars as pl

from semblance.manifests import leaks
from semblance.quality import builds as audited
from semblance.quality.audit.leak_table import (
    LEAKS,
    allowed,
    between_builds,
    equal_between,
    equal_inside,
    inside,
    near_pairs,
)
from semblance.quality.builds import Audited
from semblance.quality.duplicates.search import Near, near
from semblance.quality.duplicates.sequences import DuplicateConfig
from semblance.shards.verify import verify

MOST_PAIRS: Final = 5000  # compared on pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildAudit:
    """One build: broken laws as sentences, coverage by side, and the figures of each protocol's column.

    ``pictures``: column -> pictures that stand on a side, those of them that stand on several; None for a plan.
    """

    build: Audited
    problems: tuple[str, ...]
    coverage: list[dict[str, Any]]
    figures: dict[str, pl.DataFrame]
    pictures: dict[str, tuple[int, int]] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The builds, the near-duplicates, and all offending ids (columns: ``offences.LEAKS``).

    ``between``: what every two builds share, a row a kind and pair of sides; ``idle``: names of ``allow`` that are
    no leak.
    """

    builds: tuple[BuildAudit, ...]
    between: dict[tuple[str, str], pl.DataFrame]
    near: Near | None
    leaks: pl.DataFrame
    idle: tuple[str, ...]

    def failing(self) -> pl.DataFrame:
        """The leaks that break the audit."""
        return self.leaks.filter(pl.col("breaks") & ~pl.col("allowed"))

    @property
    def broken(self) -> bool:
        return self.failing().height > 0 or any(one.problems for one in self.builds)


def audit(
    outs: Sequence[str],
    *,
    plan: bool = False,
    allow: Sequence[str] = (),
    config: DuplicateConfig | None = None,
    most: int = MOST_PAIRS,
) -> Audit:
    """Audit builds, or plans alone, each by itself and against each other.

    A leak breaks the audit where the protocol laid out promises that there is none. ``official`` promises nothing
    of its own, but what it shares breaks it too: such a test set does not test what it seems to. So do equal
    pictures and confirmed near-duplicate videos on two sides of what was laid out. Between builds it is what one
    tests and the other trains or validates with: videos, families, whatever both protocols promise, equal pictures
    and near-duplicates. ``allow`` names accepted leaks by id, ``kind:id``, or one video of a pair. At most ``most``
    pairs of videos are compared on pixels. Raises SemblanceError where there is no build, UsageError for a table
    without ``plan``.
    """
    builds = audited.read(outs, plan=plan)
    numbered = audited.videos(builds)
    pairs = list(combinations(range(len(builds)), 2))
    found = [inside(build) for build in builds]
    shared = {pair: leaks.between(builds[pair[0]].plan, builds[pair[1]].plan) for pair in pairs}
    counts = {pair: _counts(rows) for pair, rows in shared.items()}
    hashed, duplicates = None, None
    pictures: list[dict[str, tuple[int, int]] | None] = [None] * len(builds)
    if not plan:
        hashed = audited.samples(builds, numbered)
        for place, build in enumerate(builds):
            equal, pictures[place] = equal_inside(build, place, numbered, hashed)
            found.append(equal)
        duplicates = near(builds, numbered, hashed, config or DuplicateConfig(), most)
        found.append(near_pairs(builds, numbered, duplicates.pairs))
        for one, other in pairs:
            equal = equal_between(builds, (one, other), numbered, hashed)
            shared[one, other] = pl.concat([shared[one, other], equal])
            near_counts = _near_counts(duplicates.pairs, numbered, one, other)
            counts[one, other] = pl.concat([_counts(shared[one, other]), near_counts])
    found += [between_builds(builds, pair, rows) for pair, rows in shared.items()]
    table, idle = allowed(pl.concat(found), allow)
    return Audit(
        builds=tuple(
            _one(build, numbered.filter(pl.col("build") == place), hashed, pictures[place])
            for place, build in enumerate(builds)
        ),
        between={(builds[one].name, builds[other].name): rows for (one, other), rows in counts.items()},
        near=duplicates,
        leaks=table.sort("build", "other", "column", "kind", "id", nulls_last=False),
        idle=idle,
    )


def _one(
    build: Audited,
    numbered: pl.DataFrame,
    hashed: pl.DataFrame | None,
    pictures: dict[str, tuple[int, int]] | None,
) -> BuildAudit:
    own = None if hashed is None else hashed.filter(pl.col("number").is_in(numbered["number"].implode()))
    return BuildAudit(
        build=build,
        problems=tuple(verify(build.name, deep=False, isolation=False).problems) if build.shards else (),
        coverage=audited.coverage(build, numbered, own),
        figures={
            column: leaks.figures(build.plan, column, build.kinds(column))
            for column in leaks.COLUMNS_AUDITED
            if leaks.standing(build.plan, column).height
        },
        pictures=pictures,
    )


def _counts(rows: pl.DataFrame) -> pl.DataFrame:
    """How many ids two builds share, by kind and sides."""
    return rows.group_by("kind", "side", "other_side").len("ids").sort("kind", "side", "other_side")


def _near_counts(pairs: pl.DataFrame, numbered: pl.DataFrame, one: int, other: int) -> pl.DataFrame:
    """The same of confirmed near-duplicates."""
    sides = numbered.select("build", "split").with_columns(pl.col("split").fill_null("unassigned"))
    a, b = sides[pairs["a"].to_list()], sides[pairs["b"].to_list()]
    both = pl.DataFrame({"kind": "near_duplicate", "side": a["split"], "other_side": b["split"]}).filter(
        (a["build"] == one) & (b["build"] == other) & pairs["confirmed"].fill_null(value=False)
    )
    return _counts(both)


__all__ = ["LEAKS", "MOST_PAIRS", "Audit", "BuildAudit", "audit"]
