"""``shards``: the bytes of a build."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from semblance.manifests.console import friendly, listing, plain

if TYPE_CHECKING:
    from semblance.shards.layout import Receipt

app = typer.Typer(
    help="The bytes of a build.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


@app.callback()
def main() -> None:
    """The bytes of a build."""


@app.command()
@friendly
def verify(
    out: Annotated[str, typer.Argument(help="The --out of a build.")],
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte: hashes, members, pictures, notes.")] = False,
    most: Annotated[int, typer.Option("--most", help="How many problems to print.")] = 50,
) -> None:
    """Check a build against its plan and receipts, and its active split for leaks.

    Exit code 1 if a file or row does not fit, or if the active split (official too) leaks families, people,
    recordings or held-out methods that its protocol keeps apart. `quality audit` also compares the pictures.
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
    looked = f"{report.shards} shards, {report.videos} videos, {report.samples} samples, {report.rejects} rejects"
    how = "every byte read" if deep else "sizes and rows; --deep reads every byte"
    state = f"{len(report.problems)} problems" if report.problems else "bytes are whole" if report.leaking else "whole"
    leaking = ", but the active split leaks" if report.leaking else ""
    print(f"{plain(out)}: {state}{leaking}: {looked} ({how})")
    if report.problems or report.leaking:
        raise SystemExit(1)


@app.command()
@friendly
def repack(
    out: Annotated[str, typer.Argument(help="The --out of a finished build, which stays as it is.")],
    split: Annotated[
        str, typer.Option("--split", help="official, official_clean, identity, family, method or temporal.")
    ],
    to: Annotated[str, typer.Option("--to", help="New folder or s3:// prefix for the build that comes out.")],
    held_out: Annotated[
        list[str] | None, typer.Option("--held-out", help="With --split method: a method for test alone; repeatable.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", help="With --split official_clean: recording, family or person. Default: recording."),
    ] = None,
    keep: Annotated[
        str | None, typer.Option("--keep", help="Parquet or CSV file with a column sample_id or video_id.")
    ] = None,
) -> None:
    """Lay another split out from shards and manifests alone; run again after an interruption, it goes on."""
    from semblance.shards.repack import run as repacker
    from semblance.shards.repack import subset as lists
    from semblance.shards.repack.plan import RepackRequest, plan

    wish = RepackRequest(split=split, held_out=held_out or (), against=against, keep=lists.read(keep) if keep else None)
    made = plan(out, wish)
    try:
        done = repacker.run(made, to, _sealed)
    except KeyboardInterrupt:
        print(f"Interrupted. What is sealed in {plain(to)} is kept; run the same command to go on.", file=sys.stderr)
        raise SystemExit(130) from None
    if not done.worked:
        print(f"{plain(to)} is finished already; nothing to do.")
    for sentence in made.assigned.said.of(made.assigned.protocol):
        print(plain(sentence))
    counts = done.description["counts"]
    sides = ", ".join(f"{side} {count}" for side, count in counts["splits"].items())
    left = f"; {made.left_out} samples left out by {plain(keep)}" if keep else ""
    print(f"{plain(to)}: split {made.assigned.protocol} of {plain(out)}: {counts['samples']} samples{left}")
    print(f"videos: {sides}. `shards verify {plain(to)} --deep` reads every byte.")


def _sealed(receipt: Receipt, done: int, of: int) -> None:
    empty = "" if receipt.shard else " (no tar is written for it)"
    print(f"sealed {receipt.key}: {receipt.samples} samples{empty}; {done} of {of} shards", flush=True)


def _formats() -> str:
    from semblance.shards.export import FORMATS

    return " or ".join(f"{name} ({form.summary})" for name, form in sorted(FORMATS.items()))


@app.command(cls=listing(formats=_formats))
@friendly
def export(
    out: Annotated[str, typer.Argument(help="The --out of a finished build.")],
    form: Annotated[str, typer.Option("--format", help="{formats}.")],
    to: Annotated[str, typer.Option("--to", help="New or empty folder or s3:// prefix.")],
    everything: Annotated[bool, typer.Option("--all", help="Also the videos that stand on no side.")] = False,
) -> None:
    """Write a build's pictures into folders, for other people's code."""
    from semblance.shards.export import export as write

    done = write(out, form, to, everything=everything)
    sides = ", ".join(f"{side} {count}" for side, count in sorted(done.pictures.items())) or "none"
    masks = f", {done.masks} masks" if done.masks else ""
    print(f"{plain(to)}: {done.pictures.total()} pictures ({sides}){masks}. README.md there says how to use them.")
    for reason, count in sorted(done.left_out.items()):
        print(f"left out: {count} faces {reason}")
    print("Most datasets' terms forbid passing their pictures on, crops too: read CARD.md before you share any of it.")
