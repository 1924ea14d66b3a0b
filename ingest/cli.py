"""``ingest``: from collections of videos to committed shards."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from semblance.ingest import console
from semblance.manifests.console import friendly, plain
from semblance.manifests.datasets import DATASETS
from semblance.manifests.errors import SemblanceError

if TYPE_CHECKING:
    from rich.console import Console

    from semblance.ingest.plan import Plan
    from semblance.ingest.run.build import Built
    from semblance.ingest.run.interrupt import Sealed

app = typer.Typer(
    help="From collections of real and manipulated face videos to training-ready shards.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Dataset = Annotated[
    str,
    typer.Option(
        "--dataset",
        help=f"Layout of the dataset: {', '.join(sorted(DATASETS))}; folder is for your own videos.",
    ),
]
Root = Annotated[
    str | None, typer.Option("--root", help="Folder or s3:// prefix of the videos. Default: data/<dataset>.")
]
Out = Annotated[str | None, typer.Option("--out", help="Build folder or s3:// prefix. Default: out/<dataset>.")]
RecipeName = Annotated[
    str,
    typer.Option(
        "--recipe", help="plan, deepfakebench, selim, or a YAML or JSON file. It decides the content of the build."
    ),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Override a key of the recipe, e.g. --set sampling.n=16.")
]
Limit = Annotated[int | None, typer.Option("--limit", help="Plan only the first N videos: short for --set limit=N.")]


@app.command()
@friendly
def demo(
    dataset: Annotated[str, typer.Option("--dataset", help="Layout to write: dfdc.")] = "dfdc",
    to: Annotated[str | None, typer.Option("--to", help="Output folder. Default: data/demo/<dataset>.")] = None,
) -> None:
    """Write a small synthetic collection in the layout of a dataset; needs no network."""
    from semblance.ingest.demo.dataset import write
    from semblance.manifests.errors import UsageError

    if dataset != "dfdc":
        raise UsageError(f"No demo for dataset {plain(dataset)!r}; the only one is dfdc.")
    folder = to or f"data/demo/{dataset}"
    terminal = console.console()
    with console.spinner(terminal, "writing the synthetic collection"):
        collection = write(folder)
    verb = "now holds" if collection.written else "already holds"
    terminal.print(
        f"{plain(folder)} {verb} a SYNTHETIC collection: {collection.originals} originals, {collection.fakes} fakes. "
        f"Build it with: ingest build --dataset {dataset} --root {plain(folder)} --recipe {plain(folder)}/recipe.yaml",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


@app.command()
@friendly
def plan(
    dataset: Dataset,
    root: Root = None,
    recipe: RecipeName = "plan",
    settings: Settings = None,
    limit: Limit = None,
    to: Annotated[str | None, typer.Option("--to", help="Also write the plan to this Parquet file.")] = None,
) -> None:
    """Show the videos that were found, their splits and shards, and what does not fit.

    No video is opened unless the recipe sets temporal.probe.
    """
    planned = _plan(dataset, root, recipe, settings, limit)
    terminal = console.console()
    for table in console.plan_tables(planned):
        terminal.print(table)
    console.show_facts(terminal, planned)
    for sentence in (*planned.split_facts, planned.source.info.identity_note):
        console.show_line(sentence, terminal)
    console.show_findings(terminal, planned)
    if to is not None:
        from semblance.ingest.plan import plan_rows
        from semblance.manifests.tables import write_rows

        write_rows(to, plan_rows(planned.videos), "plan")
        console.show_line(
            f"{to} holds the plan, one row per video; `quality audit --plan {to}` checks it for leaks.", terminal
        )
    shards = planned.by_shard()
    terminal.print(
        f"{len(planned.videos)} videos, {len(shards)} shards, fingerprint {planned.fingerprint[:16]}", highlight=False
    )
    console.show_lopsided(terminal, planned)


@app.command()
@friendly
def build(
    dataset: Dataset,
    root: Root = None,
    out: Out = None,
    recipe: RecipeName = "plan",
    settings: Settings = None,
    limit: Limit = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Local worker processes. Default: one per core.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="Use a running Dask cluster, e.g. tcp://host:8786.")
    ] = None,
    max_failures: Annotated[
        float,
        typer.Option("--max-failures", min=0, max=1, help="Exit with code 3 if a larger share of the videos fails."),
    ] = 0.01,
    max_failures_in_a_row: Annotated[
        int, typer.Option("--max-failures-in-a-row", min=0, help="Stop after this many failures in a row; 0: never.")
    ] = 100,
    retry: Annotated[
        str | None,
        typer.Option(
            "--retry", help="failed: process failed videos again; damaged: rebuild shards whose bytes have changed."
        ),
    ] = None,
    log: Annotated[str | None, typer.Option("--log", help="Append to this file, one JSON object per line.")] = None,
) -> None:
    """Build shards, manifests and receipts; run the same command again to resume an interrupted build."""
    from semblance.ingest.run.interrupt import Sealed, told
    from semblance.manifests.errors import UsageError

    if retry is not None and retry not in ("failed", "damaged"):
        raise UsageError(f"--retry takes failed or damaged, not {plain(retry)!r}.")
    out = out or f"out/{dataset}"
    sealed = Sealed(plain(out))
    with told(sealed.sentence):
        planned = _plan(dataset, root, recipe, settings, limit)
        terminal = console.console()
        console.show_facts(terminal, planned)
        console.show_findings(terminal, planned)
        in_a_row = max_failures_in_a_row or None
        built = _build(planned, out, terminal, sealed, log, workers, scheduler, cast(Any, retry), in_a_row)
        _summarise(built, planned, out, terminal, max_failures)


def _summarise(built: Built, planned: Plan, out: str, terminal: Console, max_failures: float) -> None:
    """Show what was built; exits with code 3 if more than a share of ``max_failures`` of the videos failed."""
    from semblance.ingest.run import describe

    if not built.worked:
        console.show_line(f"{out} is already finished; nothing to do.", terminal)
    terminal.print(console.summary_table(out))
    shares = console.show_shares(terminal, out)
    console.show_empty_shards(terminal, out)
    console.show_masks(terminal, out, built.description["counts"].get("masks"))
    failed, videos = describe.failures(built.description), built.description["counts"]["videos"]
    console.show_next_steps(terminal, out)
    if failed:
        console.show_failures(terminal, out)
    console.show_lopsided(terminal, planned)
    for sentence in shares.missing():
        console.show_line(sentence, terminal)
    if failed > max_failures * videos:
        console.show_line(
            f"{failed} of {videos} videos failed, more than --max-failures {max_failures:.1%} allows; column error of "
            f"the videos table in {plain(out)} says why. Everything else is complete."
        )
        raise SystemExit(3)


def _build(
    planned: Plan,
    out: str,
    terminal: Console,
    sealed: Sealed,
    log: str | None,
    workers: int | None,
    scheduler: str | None,
    retry: Literal["failed", "damaged"] | None,
    in_a_row: int | None,
) -> Built:
    """Build with a progress display and an optional log; an unexpected error becomes one sentence."""
    import traceback

    from semblance.ingest.run import limits_record, replaced
    from semblance.ingest.run.build import build as run_build
    from semblance.ingest.run.log import Journal, ObserverGroup, keep_traceback
    from semblance.ingest.run.progress import Watcher
    from semblance.ingest.run.retry import failures
    from semblance.shards import build_folder

    with contextlib.ExitStack() as stack:
        if log is not None:
            build_folder.refuse_inside(out, log, flag="--log")
        journal = stack.enter_context(Journal(log))
        journal.log(
            "build",
            out=out,
            root=planned.root,
            dataset=planned.source.name,
            fingerprint=planned.fingerprint,
            limits=planned.recipe.limits.model_dump(mode="json"),
        )
        observer = ObserverGroup([sealed, stack.enter_context(Watcher(terminal)), journal])
        try:
            planned = replaced.reconciled(planned, out, retry)
            if new := replaced.changes(planned, out):
                journal.log("files replaced", changes=new)
                for line in new:
                    console.show_line(f"{line}; its video failed and is processed again", terminal)
            if changes := limits_record.changes(planned, out):
                journal.log("limits changed", changes=changes)
                failed = any(failures(planned, out).values())
                console.show_changed_limits(changes, terminal, failed=failed, retried=retry == "failed")
            built = run_build(
                planned, out, observer, workers=workers, scheduler=scheduler, again=retry, in_a_row=in_a_row
            )
        except KeyboardInterrupt:
            journal.log("interrupted", level=logging.WARNING)
            raise
        except SemblanceError as error:
            journal.log("stopped", level=logging.ERROR, error=str(error))
            raise
        except Exception as error:
            journal.log("defect", level=logging.CRITICAL, traceback=traceback.format_exc())
            where = log or keep_traceback(traceback.format_exc())
            raise SemblanceError(
                f"A bug in Semblance stopped the build; its traceback is in {where}; please report it."
            ) from error
        journal.log("finished", shards_written=built.worked, counts=built.description["counts"]["statuses"])
    return built


@app.command()
@friendly
def status(out: Annotated[str, typer.Argument(help="Build folder.")]) -> None:
    """Show what is done, failed and remaining, from the receipts; also while a build runs."""
    from semblance.ingest.run.status import read

    terminal = console.console()
    for line in read(out).lines():
        console.show_line(console.shortened(line, console.LINE), terminal)


@app.command()
@friendly
def doctor() -> None:
    """Check this machine: versions, decoders, OpenCV packages, weights, cores, memory, disk, GPU."""
    from rich.table import Table

    from semblance.ingest.doctor import examine

    table = Table(show_header=False)
    checks = examine()
    for check in checks:
        table.add_row("ok" if check.good else "FIX", check.what, check.value, "" if check.good else check.remedy)
    console.console().print(table)
    if not all(check.good for check in checks):
        raise SystemExit(1)


def _plan(dataset: str, root: str | None, recipe: str, settings: list[str] | None, limit: int | None) -> Plan:
    from semblance.ingest.plan import make
    from semblance.ingest.recipe import load

    return make(dataset, root or f"data/{dataset}", load(recipe, settings or (), limit))
