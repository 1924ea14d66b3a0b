"""``quality``: check and inspect builds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.manifests.errors import UsageError

if TYPE_CHECKING:
    from semblance.quality.checks.shortcuts import Figure

app = typer.Typer(
    help="Check and inspect builds.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)

Json = Annotated[str | None, typer.Option("--json", help="File for all results as JSON ('-' prints them).")]


@app.callback()
def main() -> None:
    """Check and inspect builds."""


@app.command()
@friendly
def sheet(
    out: Annotated[str, typer.Argument(help="Build folder or s3:// prefix.")],
    to: Annotated[str, typer.Option("--to", help="PNG or JPEG file to write.")],
    rejects: Annotated[bool, typer.Option("--rejects", help="Show rejected faces instead of kept ones.")] = False,
    where: Annotated[str | None, typer.Option("--where", help="SQL condition, e.g. \"split = 'test'\".")] = None,
    most: Annotated[int, typer.Option("--most", min=1, max=2000, help="Maximum number of faces.")] = 100,
) -> None:
    """Draw a contact sheet of faces. It shows identifiable people: most dataset terms prohibit redistribution."""
    from semblance.manifests import storage
    from semblance.quality import codec
    from semblance.quality.report.contact_sheet import draw, rows

    extension = to.rsplit(".", 1)[-1].lower()
    if extension not in ("png", "jpg"):
        raise UsageError(f"{plain(to)} must end in .png or .jpg.")
    selected = rows(out, table="rejects" if rejects else "samples", where=where, most=most)
    config = codec.EncodingConfig(format="png" if extension == "png" else "jpg")
    storage.write_bytes(to, codec.encode(draw(out, selected), config))
    print(f"{plain(to)}: {len(selected)} faces; most dataset terms prohibit redistributing pictures of people")


@app.command()
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
    from semblance.quality.audit import text as verdict
    from semblance.quality.audit.run import audit as examine
    from semblance.quality.duplicates.sequences import DuplicateConfig

    if to is not None and not to.endswith((".csv", ".parquet")):
        raise UsageError(f"{plain(to)} must end in .csv or .parquet.")
    if keep is not None and (not keep.endswith(".parquet") or len(outs) > 1 or plan):
        raise UsageError("--keep needs a .parquet file and exactly one build, without --plan.")
    result = examine(outs, plan=plan, allow=allow or (), config=DuplicateConfig(distance=distance), most=confirm)
    if to is not None:
        leak_table.write(result.leaks, to)
    if figures is not None:
        _json(verdict.to_json(result), figures)
    if figures != "-":
        console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
        audit_page.show(result, console)
        if to is not None:
            print(f"{plain(to)}: {result.leaks.height} leaks under all protocols, one row each")
        if keep is not None:
            kept = leak_table.kept(result.leaks, result.builds[0].build.plan)
            storage.write_bytes(keep, tables.parquet(kept))
            print(f"{plain(keep)}: {kept.height} videos to keep")
            print(f"next: shards repack {plain(outs[0])} --split PROTOCOL --keep {plain(keep)} --to OUT2")
    if result.broken:
        raise SystemExit(1)


@app.command()
@friendly
def report(
    out: Annotated[str, typer.Argument(help="Build folder or s3:// prefix.")],
    compare: Annotated[str | None, typer.Option("--compare", help="Another build to compare with.")] = None,
    share: Annotated[bool, typer.Option("--share", help="Write a page without pictures, paths and ids.")] = False,
    attributes: Annotated[
        str | None, typer.Option("--attributes", help="Table with video_id and attribute columns, for filter fairness.")
    ] = None,
) -> None:
    """Write a self-contained HTML report on a build: findings of `quality audit`, counts, funnel, distributions and
    faces. Exits with 0 even if it finds problems.
    """
    from semblance.quality.audit.text import headline
    from semblance.quality.report import page as pages

    written = pages.write(out, compare=compare, share=share, attributes=attributes)
    print(f"{plain(written.url)}: {written.bytes / 1e3:,.0f} kB")
    print(f"{headline(written.findings)}.")
    for finding in written.findings:
        if finding.level != "note":
            print(f"  {finding.level}: {plain(finding.what)}")
    print("It contains no pictures, paths or ids." if share else pages.REDISTRIBUTION)


@app.command()
@friendly
def shortcuts(out: Annotated[str, typer.Argument(help="Build folder or s3:// prefix.")], to: Json = None) -> None:
    """Test whether acquisition metadata alone predicts the label. Face statistics serve as a baseline."""
    from semblance.quality.checks import separability
    from semblance.quality.checks import shortcuts as audit

    separability.one_thread()
    found = audit.audit(out)
    if to == "-":
        _json(audit.to_json(found), to)
        return
    print(f"{'reals vs.':32} {'families':>8}  {'acquisition':24} {'face statistics (baseline)':24}")
    for one in found:
        cells = [_interval(figure) for figure in (one.acquisition, one.face)]
        print(f"{plain(one.name):32} {one.acquisition.found.families:>8}  {cells[0]:24} {cells[1]:24}".rstrip())
    for sentence in audit.warnings(found):
        print(f"warning: {plain(sentence)}")
    if found and found[0].acquisition.verdict == "too few to tell":
        print(f"too few families: at least {separability.LEAST_FAMILIES} with kept crops are needed")
        for column in found[0].acquisition.found.constant:
            print(f"warning: one value in every real and another in every fake: {plain(column)}")
    if to is not None:
        _json(audit.to_json(found), to)


@app.command()
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


@app.command()
@friendly
def thresholds(
    out: Annotated[str, typer.Argument(help="Folder of a finished build, or s3:// prefix.")],
    keep: Annotated[
        float, typer.Option("--keep", help="Share of each label's faces that pass the gates that stay.")
    ] = 0.9,
    gate: Annotated[
        list[str] | None,
        typer.Option("--gate", help="A gate that may change, e.g. blur; repeatable. Default: all but confidence."),
    ] = None,
    stricter: Annotated[bool, typer.Option("--stricter", help="Propose stricter limits too.")] = False,
    to: Json = None,
) -> None:
    """Propose limits for the gates that keep a wished share of each label's faces, and show what they would keep.

    The share is of the faces that pass the gates that stay: confidence, or all that --gate does not name. Each gate is
    moved alone, then all together. Nothing is changed: the lines to copy are for `ingest build` to a new --out.
    """
    from rich.console import Console

    from semblance.quality.checks import thresholds as proposals
    from semblance.quality.report.thresholds import show

    found = proposals.propose(out, keep, move=gate or (), stricter=stricter)
    if to is not None:
        _json(proposals.to_json(found), to)
    if to != "-":
        show(found, out, Console(width=None if sys.stdout.isatty() else 160, highlight=False))


@app.command()
@friendly
def flag(
    out: Annotated[str, typer.Argument(help="Build folder or s3:// prefix.")],
    listed: Annotated[
        str | None,
        typer.Option("--list", help="Third-party table that identifies videos by id, path or file name."),
    ] = None,
    name: Annotated[str | None, typer.Option("--flag", help="Flag to set on the videos in --list.")] = None,
) -> None:
    """Flag doubtful labels in manifests/flags: unchanged fakes, equal reals and fakes, or a third party's list."""
    from semblance.quality.checks import label_noise

    if (listed is None) != (name is None):
        raise UsageError("--list and --flag must be given together: the table, and the flag for its videos.")
    if listed is not None and name is not None:
        rows, unknown = label_noise.from_list(out, listed, name)
        label_noise.write_list(out, rows, name)
        print(f"{name}: {len(rows)} videos; {unknown} listed in {plain(listed)} are not in {plain(out)}")
        return
    judged = label_noise.judge(out)
    label_noise.write(out, judged)
    for line in label_noise.lines(judged, label_noise.peak_limit(out)):
        print(plain(line))


@app.command()
@friendly
def drift(
    out: Annotated[str, typer.Argument(help="Build folder or s3:// prefix.")],
    other: Annotated[str, typer.Argument(help="Another, usually later build.", metavar="OUT2")],
    to: Json = None,
    page: Annotated[str | None, typer.Option("--page", help="HTML file to write.")] = None,
) -> None:
    """Compare the columns of two builds: population stability index (PSI) and two-sample tests."""
    from semblance.quality.checks import drift as shifts
    from semblance.quality.report import page as pages

    found = shifts.drift(out, other)
    if page is not None:
        pages.write_drift(out, other, found, page)
    if to is not None:
        _json(shifts.to_json(found), to)
    if to == "-":
        return
    print(f"{'column':28} {'verdict':9} {'PSI':>8}  typical before -> after")
    for one in found:
        index = "" if one.psi is None else f"{one.psi:.3f}"
        change = f"{plain(one.before)} -> {plain(one.after)}"
        print(f"{one.table + '.' + one.column:28} {one.verdict:9} {index:>8}  {change}")
    print(
        f"PSI below {shifts.SMALL} is stable, above {shifts.LARGE} large; too few: differences this large "
        "occur by chance with so few videos"
    )


def _interval(figure: Figure) -> str:
    found = figure.found
    if found.auc is None:
        return figure.words
    return f"{found.auc:.2f} [{found.low:.2f}, {found.high:.2f}] {figure.words}"


def _json(value: object, to: str) -> None:
    import json

    from semblance.manifests import storage

    text = json.dumps(value, indent=1) + "\n"
    if to == "-":
        print(text, end="")
    else:
        storage.write_bytes(to, text.encode())
