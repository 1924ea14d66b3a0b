"""``shards``: verify, repack and export builds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from semblance.manifests.console import friendly, listing, plain

if TYPE_CHECKING:
    from semblance.shards.layout import Receipt

app = typer.Typer(
    help="Verify, repack and export builds.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


@app.callback()
def main() -> None:
    """Verify, repack and export builds."""


@app.command()
@friendly
def verify(
    out: Annotated[str, typer.Argument(help="Build folder or s3:// prefix.")],
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte: hashes, members, pictures, JSON.")] = False,
    most: Annotated[int, typer.Option("--most", help="Print at most this many problems.")] = 50,
) -> None:
    """Check a build against its plan and receipts, and its active split for leaks.

    Exits with 1 if a file or row does not match, or if the active split leaks families, people, recordings or held-out
    methods that its protocol keeps apart (an official split too). `quality audit` also compares the pictures.
    """
    from semblance.shards.verify import verify as check

    report = check(out, deep=deep)
    for problem in report.problems[:most]:
        print(plain(problem), file=sys.stderr)
    if len(report.problems) > most:
        print(f"... and {len(report.problems) - most} more", file=sys.stderr)
    for leak in report.leaks:
        more = f" and {len(leak.ids) - 3:,} more" if len(leak.ids) > 3 else ""
        print(f"{leak.level}: {plain(leak.what)}: {plain(', '.join(leak.ids[:3]))}{more}", file=sys.stderr)
    checked = f"{report.shards} shards, {report.videos} videos, {report.samples} samples, {report.rejects} rejects"
    if report.uncounted:
        noun = "damaged or unfinished shard is" if report.uncounted == 1 else "damaged or unfinished shards are"
        checked += f"; {report.uncounted} {noun} not in these counts"
    how = "every byte read" if deep else "sizes and rows; --deep reads every byte"
    leaking = "; the active split leaks" if report.leaking else ""
    if report.problems:
        print(f"{plain(out)}: {len(report.problems)} problems in {checked} ({how}){leaking}")
    else:
        print(f"{plain(out)} is intact: {checked} ({how}){leaking}")
    if report.problems or report.leaking:
        raise SystemExit(1)


@app.command()
@friendly
def repack(
    out: Annotated[str, typer.Argument(help="Folder of a finished build, which is not changed.")],
    split: Annotated[
        str,
        typer.Option(
            "--split", help="official, official_clean, identity, family, method, temporal or person_estimated."
        ),
    ],
    to: Annotated[str, typer.Option("--to", help="New folder or s3:// prefix for the new build.")],
    held_out: Annotated[
        list[str] | None, typer.Option("--held-out", help="With --split method: a method only for test; repeatable.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", help="With --split official_clean: recording, family or person. Default: recording."),
    ] = None,
    persons: Annotated[
        str | None,
        typer.Option(
            "--persons", help="With --split person_estimated: table of `quality persons`. Default: that of OUT."
        ),
    ] = None,
    keep: Annotated[
        str | None, typer.Option("--keep", help="Parquet or CSV file with a column sample_id or video_id.")
    ] = None,
) -> None:
    """Repack a build under another split, from its shards and manifests alone.

    Run the same command again after an interruption to resume.
    """
    from semblance.manifests.records import SPLITS
    from semblance.shards.repack import subset
    from semblance.shards.repack.plan import RepackRequest, plan
    from semblance.shards.repack.run import run

    kept = subset.read(keep) if keep else None
    request = RepackRequest(split=split, held_out=held_out or (), against=against, keep=kept, persons=persons)
    planned = plan(out, request)
    try:
        done = run(planned, to, _sealed)
    except KeyboardInterrupt:
        print(
            f"Interrupted. Finished shards in {plain(to)} are kept; run the same command to resume.",
            file=sys.stderr,
        )
        raise SystemExit(130) from None
    if not done.worked:
        print(f"{plain(to)} is already complete; nothing to do.")
    for sentence in planned.assigned.notes.of(planned.assigned.protocol):
        print(plain(sentence))
    counts = done.description["counts"]
    videos = ", ".join(f"{name} {counts['splits'][name]}" for name in SPLITS if name in counts["splits"])
    dropped = f"; {planned.left_out} samples excluded by {plain(keep)}" if keep else ""
    print(f"{plain(to)}: split {planned.assigned.protocol} of {plain(out)}, {counts['samples']} samples{dropped}")
    print(f"videos: {videos}. `shards verify {plain(to)} --deep` reads every byte.")


def _sealed(receipt: Receipt, done: int, of: int) -> None:
    empty = "" if receipt.shard else " (so no tar)"
    print(f"sealed {receipt.key}: {receipt.samples} samples{empty}; {done} of {of} shards", flush=True)


def _formats() -> str:
    from semblance.shards.export import FORMATS

    return " or ".join(f"{name} ({form.summary})" for name, form in sorted(FORMATS.items()))


@app.command(cls=listing(formats=_formats))
@friendly
def export(
    out: Annotated[str, typer.Argument(help="Folder of a finished build.")],
    form: Annotated[str, typer.Option("--format", help="{formats}.")],
    to: Annotated[str, typer.Option("--to", help="New or empty folder or s3:// prefix.")],
    everything: Annotated[bool, typer.Option("--all", help="Also the unassigned videos.")] = False,
) -> None:
    """Write the pictures of a build into folders for other software."""
    from semblance.shards.export import export as write

    done = write(out, form, to, everything=everything)
    splits = ", ".join(f"{name} {count}" for name, count in sorted(done.pictures.items())) or "none"
    masks = f", {done.masks} masks" if done.masks else ""
    print(f"{plain(to)}: {done.pictures.total()} pictures ({splits}){masks}. README.md there explains their use.")
    for reason, count in sorted(done.left_out.items()):
        print(f"excluded: {count} faces {reason}")
    print("Most dataset terms prohibit redistribution, crops included: read CARD.md before you share any of it.")
