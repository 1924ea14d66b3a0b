"""The result of an audit: the evidence and findings of each build, and of every two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from semblance.manifests.records import Finding
from semblance.quality.audit import findings as judge
from semblance.quality.audit import promises
from semblance.quality.audit.checks import Checks
from semblance.quality.audit.evidence import EstimatedPeople
from semblance.quality.audit.promises import Promises
from semblance.quality.builds import Audited
from semblance.quality.checks.shares import Shares
from semblance.quality.duplicates.recordings import Recordings
from semblance.quality.duplicates.search import Near
from semblance.quality.duplicates.sequences import DuplicateConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildAudit:
    """One build: its findings, worst first, coverage by split, and the figures of each protocol's column.

    ``problems``: broken laws of files and rows, as sentences. ``pictures``: column -> pictures in any split, those
    of them in several; None for a plan, as are ``checks`` and ``shares``. ``copies``: confirmed pairs of two families
    (video, other, split, other_split, shared, share, kind, how). ``unsearched``: the videos that were not compared with
    others (video_id, why); None for a plan. ``not_compared`` pairs match by hash and were not compared on pixels.
    """

    build: Audited
    findings: tuple[Finding, ...]
    problems: tuple[str, ...]
    coverage: list[dict[str, Any]]
    figures: dict[str, pl.DataFrame]
    pictures: dict[str, tuple[int, int]] | None
    copies: pl.DataFrame
    unsearched: pl.DataFrame | None
    not_compared: int
    checks: Checks | None
    shares: Shares | None
    estimated: EstimatedPeople | None  # who was estimated from faces

    @property
    def promises(self) -> Promises:
        """What the active split promises, and what it does not."""
        return promises.of(self.build, self.figures.get("split"))

    @property
    def blind(self) -> float | None:
        """The share of the videos that were not searched for copies; None for a plan."""
        videos = self.build.plan["fault"].null_count()
        return None if self.unsearched is None else self.unsearched.height / videos if videos else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The arguments of an audit."""

    plan: bool
    allow: tuple[str, ...]
    config: DuplicateConfig
    most: int
    attributes: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The builds, the near-duplicates, and all leaking ids (columns: ``leak_table.LEAKS``).

    Of every two builds: ``across`` are the findings, ``copies`` the confirmed pairs, ``between`` what they share, one
    row per kind and pair of splits. ``idle``: names of ``allow`` that match no leak.
    """

    builds: tuple[BuildAudit, ...]
    across: dict[tuple[str, str], tuple[Finding, ...]]
    between: dict[tuple[str, str], pl.DataFrame]
    copies: dict[tuple[str, str], pl.DataFrame]
    near: Near | None
    recordings: Recordings | None
    leaks: pl.DataFrame
    idle: tuple[str, ...]
    asked: Asked

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings on all builds and between them, worst first."""
        within = [finding for build in self.builds for finding in build.findings]
        return judge.ordered([*within, *(finding for findings in self.across.values() for finding in findings)])

    def failing(self) -> pl.DataFrame:
        """The leaks that break the audit."""
        return self.leaks.filter(pl.col("breaks") & ~pl.col("allowed"))

    @property
    def broken(self) -> bool:
        return judge.level(self.findings) == "broken"
