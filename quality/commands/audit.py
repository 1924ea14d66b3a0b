"""``quality audit``: the judge of builds."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.manifests.errors import UsageError
from semblance.quality.commands.output import Json, write_json


@friendly
def audit(
    outs: Annotated[list[str], typer.Argument(help="Build folders or s3:// prefixes.", metavar="OUT")],
    plan: Annotated[
        bool, typer.Option("--plan", help="Audit only the plans: of builds, or tables written by `ingest plan --to`.")
    ] = False,
    to: Annotated[str | None, typer.Option("--to", help="Parquet or CSV file for every leaking id.")] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow", help="An accepted leak: its id, KIND:ID, one video of a pair, or a file that lists them."
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option("--keep", help="Parquet file for `shards repack --keep`: all videos but copies of test videos."),
    ] = None,
    figures: Json = None,
    page: Annotated[
        str | None,
        typer.Option("--page", help="HTML file for a reviewer: questions, answers and evidence, no pictures."),
    ] = None,
    attributes: Annotated[
        str | None,
        typer.Option(
            "--attributes", help="Table with video_id and attributes of the first build, for filter fairness."
        ),
    ] = None,
    distance: Annotated[
        int,
        typer.Option("--distance", min=0, max=12, help="Bits (of 64) in which matching frames may differ."),
    ] = 8,
    confirm: Annotated[
        int,
        typer.Option(
            "--confirm", min=0, help="Maximum number of video pairs to compare on pixels, in each of two searches."
        ),
    ] = 5000,
) -> None:
    """Check the files, splits, coverage and labels of builds, and leaks between builds. Exits with 1 if BROKEN.

    BROKEN: a file or row is wrong; the active split (official too) shares ids that its protocol separates; equal
    pictures, near-duplicate videos or videos of one recording are in two splits; or one build tests what another
    trains on. WARNING: a split cannot be evaluated, known people are in two splits without breaking the protocol,
    videos failed or were lost, fakes lack face labels, or a check of `quality report` found something. SOUND: none of
    these.
    """
    from rich.console import Console

    from semblance.manifests import storage, tables
    from semblance.quality.audit import console as audit_page
    from semblance.quality.audit import leak_table
    from semblance.quality.audit.run import audit as examine
    from semblance.quality.audit.transcribe import transcribe
    from semblance.quality.duplicates.sequences import DuplicateConfig

    if to is not None and not to.endswith((".csv", ".parquet")):
        raise UsageError(f"{plain(to)} must end in .csv or .parquet.")
    if keep is not None and (not keep.endswith(".parquet") or len(outs) > 1 or plan):
        raise UsageError("--keep needs a .parquet file and exactly one build, without --plan.")
    if page is not None and not page.endswith(".html"):
        raise UsageError(f"{plain(page)} must end in .html.")
    if attributes is not None and plan:
        raise UsageError("--attributes needs builds: a plan has no faces.")
    config = DuplicateConfig(distance=distance)
    result = examine(outs, plan=plan, allow=allow or (), config=config, most=confirm, attributes=attributes)
    if to is not None:
        leak_table.write(result.leaks, to)
    if figures is not None or page is not None:
        record = transcribe(result)
        if figures is not None:
            write_json(record.model_dump(mode="json", by_alias=True), figures)
        if page is not None:
            from semblance.quality.report.review import page as review

            text = review.render(record).encode()
            storage.write_bytes(page, text)
    if figures != "-":
        console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
        audit_page.show(result, console)
        if page is not None:
            print(f"{plain(page)}: {len(text) / 1e3:,.0f} kB, for reviewers; it contains ids and paths, no pictures")
        if to is not None:
            print(f"{plain(to)}: {result.leaks.height} leaks under all protocols, one row each")
        if keep is not None:
            kept = leak_table.kept(result.leaks, result.builds[0].build.plan)
            storage.write_bytes(keep, tables.parquet(kept))
            print(f"{plain(keep)}: {kept.height} videos to keep")
            print(f"next: shards repack {plain(outs[0])} --split PROTOCOL --keep {plain(keep)} --to OUT2")
    if result.broken:
        raise SystemExit(1)
