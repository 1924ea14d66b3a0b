"""Ask the tables of a build: what is in each split, and what was rejected and why."""

from __future__ import annotations

import sys

import polars as pl

import semblance


def main(out: str = "out/demo-dfdc") -> None:
    """Print one table of kept crops and one of reasons."""
    samples = semblance.scan(out)
    kept = samples.group_by("split", "label").agg(
        videos=pl.col("video_id").n_unique(),
        crops=pl.len(),
        altered_faces=(pl.col("face_label") == 1).sum(),
        blur=pl.col("blur").median(),
    )
    print(kept.sort("split", "label").collect())

    rejects = semblance.scan(out, "rejects")
    print(rejects.group_by("unit", "reason").len().sort("len", descending=True).collect())


if __name__ == "__main__":
    main(*sys.argv[1:])
