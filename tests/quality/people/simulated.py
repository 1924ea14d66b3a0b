"""Collections of simulated people: vectors as a network gives them, with hard clips far from their person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from semblance.quality.people.embedders.alignment import Alignment
from semblance.quality.people.embedders.door import Distances, Embedder, Floats
from semblance.quality.people.vectors import Faces, unit

SIZE: Final = 128  # numbers of a vector
DISTANCES: Final = Distances(linkage=0.5, attach=0.5, quarantine=0.5, raw=0.1)
_PLAN: Final = {
    "dataset": pl.String,
    "video_id": pl.String,
    "label": pl.Int8,
    "compression": pl.String,
    "family_id": pl.String,
    "target_id": pl.String,
    "donor_id": pl.String,
    "recording_id": pl.String,
    "donor_recording_id": pl.String,
    "split": pl.String,
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crowd:
    """``who``: the person of each clip; ``hard``: whether it shows its person badly; vectors (N, SIZE)."""

    who: np.ndarray[Any, Any]
    hard: np.ndarray[Any, Any]
    vectors: Floats
    halves: Floats


def crowd(
    people: int, clips: int, share: float, seed: int, *, easy: float = 0.5, bad: float = 1.5, alike: float = 0.0
) -> Crowd:
    """Random people with noise of length ``easy``, or ``bad`` for a ``share`` of the clips, and a face all share.

    ``alike``: the share of their noise (squared) that the hard clips of one person have in common.
    """
    rng = np.random.default_rng(seed)
    faces = unit(rng.normal(size=(people, SIZE)))
    common = 1.5 * unit(rng.normal(size=SIZE))
    who = rng.integers(0, people, clips)
    hard = rng.random(clips) < share
    noise = np.where(hard, bad, easy)[:, None]
    common_noise = rng.normal(size=(people, SIZE))[who]
    mixed = np.sqrt(np.where(hard, alike, 0.0))[:, None] * common_noise
    mixed += np.sqrt(np.where(hard, 1 - alike, 1.0))[:, None] * rng.normal(size=(clips, SIZE))
    own = faces[who] + noise * mixed / np.sqrt(SIZE)
    jitter = 0.1 * rng.normal(size=(clips, SIZE)) / np.sqrt(SIZE)
    halves = np.stack([unit(own + common + sign * jitter) for sign in (1, -1)], 1)
    return Crowd(who=who, hard=hard, vectors=halves.mean(1).astype(np.float32), halves=halves.astype(np.float32))


def embedder(distances: Distances | None = DISTANCES) -> Embedder:
    """An embedder that is never asked: vectors are given."""
    return Embedder(
        name="simulated",
        weights={"file": "none", "sha256": "0" * 64, "licence": "none"},
        alignment=Alignment(side=112, points=None, name="none"),
        distances=distances,
        embed=lambda chips_BHWC: np.zeros((len(chips_BHWC), SIZE), np.float32),
    )


def plan(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """A plan with the columns that links need; what a row lacks is null."""
    usual: dict[str, Any] = {"dataset": "x", "label": 0, "split": "train"}
    return pl.DataFrame([usual | {"family_id": row["video_id"]} | row for row in rows], schema=_PLAN)


def faces(keys: Sequence[tuple[int, str, int]], vectors: Floats, halves: Floats | None = None, crops: int = 4) -> Faces:
    """The faces (build, video_id, person) of dataset x, sorted as ``embed`` does."""
    order = sorted(range(len(keys)), key=lambda n: (keys[n][1], keys[n][0], keys[n][2]))
    rows = pl.DataFrame(
        {
            "build": pl.Series([keys[n][0] for n in order], dtype=pl.Int32),
            "dataset": ["x"] * len(order),
            "video_id": [keys[n][1] for n in order],
            "person": pl.Series([keys[n][2] for n in order], dtype=pl.Int16),
            "crops": pl.Series([crops] * len(order), dtype=pl.Int32),
        }
    )
    both = np.stack([vectors, vectors], 1) if halves is None else halves
    return Faces(rows=rows, vector_ND=vectors[order], halves_N2D=both[order])
