"""``quality``: see what a build holds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.manifests.errors import UsageError

if TYPE_CHECKING:
    from semblance.quality.checks.shortcuts import Figure

app = typer.Typer(
    help="See what a build holds.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)

Json = Annotated[str | None, typer.Option("--json", help="File for all figures as JSON ('-': on the screen).")]


@app.callback()
def main() -> None:
    """See what a build holds."""


@app.command()
@friendly
def sheet(
    out: Annotated[str, typer.Argument(help="The --out of a build.")],
    to: Annotated[str, typer.Option("--to", help="PNG or JPEG file to write.")],
    rejects: Annotated[bool, typer.Option("--rejects", help="Rejected faces instead of kept ones.")] = False,
    where: Annotated[str | None, typer.Option("--where", help="SQL condition, e.g. \"split = 'test'\".")] = None,
    most: Annotated[int, typer.Option("--most", min=1, max=2000, help="How many faces.")] = 100,
) -> None:
    """Draw a contact sheet of faces. It shows identifiable people: dataset terms mostly forbid to pass it on."""
    from semblance.manifests import storage
    from semblance.quality import codec
    from semblance.quality.report.contact_sheet import draw, rows

    extension = to.rsplit(".", 1)[-1].lower()
    if extension not in ("png", "jpg"):
        raise UsageError(f"{plain(to)} must end in .png or .jpg.")
    found = rows(out, table="rejects" if rejects else "samples", where=where, most=most)
    config = codec.EncodingConfig(format="png" if extension == "png" else "jpg")
    storage.write_bytes(to, codec.encode(draw(out, found), config))
    print(f"{plain(to)}: {len(found)} faces; most dataset terms forbid passing pictures of people on")


@app.command()
@friendly
def audit(
    outs: Annotated[list[str], typer.Argument(help="The --out of one build or several.", metavar="OUT")],
    plan: Annotated[
        bool, typer.Option("--plan", help="Audit plans alone: of builds, or tables that `ingest plan --to` wrote.")
    ] = False,
    to: Annotated[str | None, typer.Option("--to", help="Parquet or CSV file for every offending id.")] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", help="An accepted leak: its id, KIND:ID, one video of a pair, or a file of such."),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option("--keep", help="Parquet file for `shards repack --keep`: all videos but copies of tested ones."),
    ] = None,
    figures: Json = None,
    distance: Annotated[
        int, typer.Option("--distance", min=0, max=12, help="Bits of 64 by which matching frames may differ.")
    ] = 8,
    confirm: Annotated[
        int, typer.Option("--confirm", min=0, help="How many pairs of videos, at most, are compared on pixels.")
    ] = 5000,
) -> None:
    """Check laws, leaks, coverage and labels of builds, and leaks between them; exit code 1 if one is broken.

    BROKEN: a file or row breaks a law, the active split (official too) shares what its protocol keeps apart, equal
    pictures or near-duplicate videos are in two of its splits, or one build tests what another trains with. WARNING:
    the laws hold, but a split cannot be evaluated, known people are in two splits that the protocol does not keep
    apart, videos failed, or a check of `quality report` found something. SOUND: neither.
    """
    from rich.console import Console

    from semblance.manifests import storage, tables
    from semblance.quality.audit import console as audit_page
    from semblance.quality.audit import leak_table
    from semblance.quality.audit import text as verdict
    from semblance.quality.audit.run import audit as examine
    from semblance.quality.duplicates.sequences import DuplicateConfig

    if to is not None and not to.endswith((".csv", ".parquet")):
        raise UsageError(f"{plain(to)} must end in .csv or .parquet.")
    if keep is not None and (not keep.endswith(".parquet") or len(outs) > 1 or plan):
        raise UsageError("--keep takes a .parquet file, and one build with its pictures.")
    found = examine(outs, plan=plan, allow=allow or (), config=DuplicateConfig(distance=distance), most=confirm)
    if to is not None:
        leak_table.write(found.leaks, to)
    if figures is not None:
        _json(verdict.to_json(found), figures)
    if figures != "-":
        console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
        audit_page.show(found, console)
        if to is not None:
            print(f"{plain(to)}: {found.leaks.height} leaks of all protocols, a row each")
        if keep is not None:
            left = leak_table.kept(found.leaks, found.builds[0].build.plan)
            storage.write_bytes(keep, tables.parquet(left))
            print(f"{plain(keep)}: {left.height} videos to keep")
            print(f"next: shards repack {plain(outs[0])} --split PROTOCOL --keep {plain(keep)} --to OUT2")
    if found.broken:
        raise SystemExit(1)


@app.command()
@friendly
def report(
    out: Annotated[str, typer.Argument(help="The --out of a build.")],
    compare: Annotated[str | None, typer.Option("--compare", help="Another build to set beside it.")] = None,
    share: Annotated[bool, typer.Option("--share", help="A page without pictures, paths and ids.")] = False,
    attributes: Annotated[
        str | None, typer.Option("--attributes", help="Table with video_id and attributes, for filter fairness.")
    ] = None,
) -> None:
    """Write one self-contained page about a build: its findings (those of `quality audit`), counts, funnel,
    distributions and faces. Exit code 0 whatever it finds.
    """
    from semblance.quality.audit.text import headline
    from semblance.quality.report import page as pages

    written = pages.write(out, compare=compare, share=share, attributes=attributes)
    print(f"{plain(written.url)}: {written.bytes / 1e3:,.0f} kB")
    print(f"{headline(written.findings)}.")
    for found in written.findings:
        if found.level != "note":
            print(f"  {found.level}: {plain(found.what)}")
    print("No picture, path or id is in it." if share else pages.REDISTRIBUTION)


@app.command()
@friendly
def shortcuts(out: Annotated[str, typer.Argument(help="The --out of a build.")], to: Json = None) -> None:
    """Can the label be told without looking at the face? Acquisition should not; face statistics are a baseline."""
    from semblance.quality.checks import separability
    from semblance.quality.checks import shortcuts as audit

    separability.one_thread()
    found = audit.audit(out)
    if to == "-":
        _json(audit.to_json(found), to)
        return
    print(f"{'reals against':32} {'families':>8}  {'acquisition':24} {'face statistics (baseline)':24}")
    for one in found:
        cells = [_interval(figure) for figure in (one.acquisition, one.face)]
        print(f"{plain(one.name):32} {one.acquisition.found.families:>8}  {cells[0]:24} {cells[1]:24}".rstrip())
    for sentence in audit.warnings(found):
        print(f"warning: {plain(sentence)}")
    if found and found[0].acquisition.verdict == "too few to tell":
        print(f"too few to tell: it takes {separability.LEAST_FAMILIES} families with kept crops")
        for told in found[0].acquisition.found.constant:
            print(f"warning: one value in every real and another in every fake: {plain(told)}")
    if to is not None:
        _json(audit.to_json(found), to)


@app.command()
@friendly
def match(
    out: Annotated[str, typer.Argument(help="The --out of a build.")],
    to: Annotated[str, typer.Option("--to", help="Parquet file for the videos to keep: `shards repack --keep`.")],
) -> None:
    """List the videos whose acquisition is matched between reals and fakes, so that it tells nothing any more."""
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
    print(f"acquisition tells fake from real: AUC {before.auc:.2f} before, {after.auc:.2f} after")
    print(f"next: shards repack {plain(out)} --split PROTOCOL --keep {plain(to)} --to OUT2")


@app.command()
@friendly
def flag(
    out: Annotated[str, typer.Argument(help="The --out of a build.")],
    listed: Annotated[
        str | None, typer.Option("--list", help="A third party's table that names videos by id, path or file name.")
    ] = None,
    name: Annotated[str | None, typer.Option("--flag", help="The flag of the videos in --list.")] = None,
) -> None:
    """Write label noise to manifests/flags: unchanged fakes, equal reals and fakes, or a third party's list."""
    from collections import Counter

    from semblance.quality.checks import label_noise

    if (listed is None) != (name is None):
        raise UsageError("--list and --flag go together: the table, and the flag of the videos that it names.")
    if listed is not None and name is not None:
        rows, strange = label_noise.from_list(out, listed, name)
        label_noise.write_list(out, rows, name)
        print(f"{name}: {len(rows)} videos; {strange} named in {plain(listed)} are not in {plain(out)}")
        return
    judged = label_noise.judge(out)
    label_noise.write(out, judged)
    counted = Counter(row["flag"] for row in judged.rows)
    for one in label_noise.FLAGS:
        some = [row["video_id"] for row in judged.rows if row["flag"] == one]
        told = f": {plain(', '.join(some[:3]))}{' and more' if len(some) > 3 else ''}" if some else ""
        print(f"{one}: {counted[one]} videos{told}")
    print(f"{judged.fakes} fakes have an original to compare with, {judged.unknown} have none")
    print(
        f"`change_peak` (limit {label_noise.peak_limit(out):g}) is weak after strong compression: look before dropping"
    )


@app.command()
@friendly
def drift(
    out: Annotated[str, typer.Argument(help="The --out of a build.")],
    other: Annotated[str, typer.Argument(help="The --out of another, later one.", metavar="OUT2")],
    to: Json = None,
    page: Annotated[str | None, typer.Option("--page", help="HTML file to write.")] = None,
) -> None:
    """Has the data moved? Population stability index and two-sample tests, column by column."""
    from semblance.quality.checks import drift as shifts
    from semblance.quality.report import page as pages

    found = shifts.drift(out, other)
    if page is not None:
        pages.write_drift(out, other, found, page)
    if to is not None:
        _json(shifts.to_json(found), to)
    if to == "-":
        return
    print(f"{'column':28} {'verdict':9} {'PSI':>8}  usual before -> after")
    for one in found:
        index = "" if one.psi is None else f"{one.psi:.3f}"
        change = f"{plain(one.before)} -> {plain(one.after)}"
        print(f"{one.table + '.' + one.column:28} {one.verdict:9} {index:>8}  {change}")
    print(f"PSI below {shifts.SMALL} is stable, above {shifts.LARGE} large; too few: so few videos give it by chance")


def _interval(figure: Figure) -> str:
    found = figure.found
    if found.auc is None:
        return figure.verdict
    return f"{found.auc:.2f} [{found.low:.2f}, {found.high:.2f}] {figure.verdict}"


def _json(value: object, to: str) -> None:
    import json

    from semblance.manifests import storage

    text = json.dumps(value, indent=1) + "\n"
    if to == "-":
        print(text, end="")
    else:
        storage.write_bytes(to, text.encode())
