"""``quality match``: videos whose acquisition metadata is matched."""

from __future__ import annotations

from typing import Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.manifests.errors import UsageError


@friendly
def match(
    out: Annotated[str, typer.Argument(help="Build folder or s3:// prefix.")],
    to: Annotated[str, typer.Option("--to", help="Parquet file of the videos to keep, for `shards repack --keep`.")],
) -> None:
    """Select videos whose acquisition metadata is matched between reals and fakes, so that it no longer predicts the
    label.
    """
    from semblance.manifests import storage, tables
    from semblance.quality.checks.matching import match as matched
    from semblance.quality.checks.separability import one_thread

    if not to.endswith(".parquet"):
        raise UsageError(f"{plain(to)} must end in .parquet.")
    one_thread()
    found = matched(out)
    storage.write_bytes(to, tables.parquet(found.kept))
    before, after = found.before, found.after
    print(f"{plain(to)}: {found.kept.height} of {before.reals + before.fakes} videos")
    print(f"acquisition alone separates fakes from reals: AUC {before.auc:.2f} before, {after.auc:.2f} after")
    print(f"next: shards repack {plain(out)} --split PROTOCOL --keep {plain(to)} --to OUT2")
