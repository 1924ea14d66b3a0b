"""``ingest``: from collections of videos to committed shards."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from semblance.ingest import console as terminal
from semblance.manifests.console import friendly, plain
from semblance.manifests.errors import SemblanceError

if TYPE_CHECKING:
    from rich.console import Console

    from semblance.ingest.plan import Plan
    from semblance.ingest.run.build import Built

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
        help="Which dataset's layout: dfdc, dfdc-preview, ffpp, celebdf, wilddeepfake, or folder for your own.",
    ),
]
Root = Annotated[
    str | None, typer.Option("--root", help="Folder or s3:// prefix of the videos. Default: data/<dataset>.")
]
Out = Annotated[str | None, typer.Option("--out", help="Folder or s3:// prefix of the build. Default: out/<dataset>.")]
RecipeName = Annotated[
    str, typer.Option("--recipe", help="plan, deepfakebench, selim, or a YAML or JSON file. Decides what comes out.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Lay key=value over the recipe, e.g. --set sampling.n=16.")
]
Limit = Annotated[int | None, typer.Option("--limit", help="Plan only the first N videos: short for --set limit=N.")]


@app.command()
@friendly
def demo(
    dataset: Annotated[str, typer.Option("--dataset", help="Which layout to write: dfdc.")] = "dfdc",
    to: Annotated[str | None, typer.Option("--to", help="Folder to write. Default: data/demo/<dataset>.")] = None,
) -> None:
    """Write a small synthetic collection in a dataset's true layout, offline."""
    from semblance.ingest.demo.dataset import write
    from semblance.manifests.errors import UsageError

    if dataset != "dfdc":
        raise UsageError(f"There is no demo of {plain(dataset)!r}; the demo knows dfdc.")
    folder = to or f"data/demo/{dataset}"
    console = terminal.console()
    with terminal.spinner(console, "writing the synthetic collection"):
        made = write(folder)
    verb = "holds" if not made.written else "now holds"
    console.print(
        f"{plain(folder)} {verb} a SYNTHETIC collection: {made.originals} originals, {made.fakes} fakes. "
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
    to: Annotated[str | None, typer.Option("--to", help="Write the plan's table to this Parquet file.")] = None,
) -> None:
    """Print what is there, how it would be split and sharded, and what does not fit.

    No video is opened, unless the recipe says temporal.probe.
    """
    made = _plan(dataset, root, recipe, settings, limit)
    console = terminal.console()
    for table in terminal.plan_tables(made):
        console.print(table)
    for sentence, count in made.discovery.facts:
        terminal.say(f"{sentence}: {count}", console)
    for sentence in (*made.split_facts, made.source.identity_note):
        terminal.say(sentence, console)
    terminal.show_findings(console, made)
    if to is not None:
        from semblance.ingest.plan import plan_rows
        from semblance.manifests.tables import write_rows

        write_rows(to, plan_rows(made.videos), "plan")
        terminal.say(f"{to} holds the plan, a row a video; `quality audit --plan {to}` looks for leaks in it.", console)
    shards = made.by_shard()
    console.print(
        f"{len(made.videos)} videos, {len(shards)} shards, fingerprint {made.fingerprint[:16]}", highlight=False
    )


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
        int | None, typer.Option("--workers", min=1, help="Local worker processes. Default: one a core.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="Use a running Dask cluster, e.g. tcp://host:8786.")
    ] = None,
    max_failures: Annotated[
        float, typer.Option("--max-failures", min=0, max=1, help="Share of videos that may fail before exit code 3.")
    ] = 0.01,
    max_failures_in_a_row: Annotated[
        int, typer.Option("--max-failures-in-a-row", min=0, help="Stop after so many failures in a row; 0: never.")
    ] = 100,
    retry: Annotated[
        str | None,
        typer.Option("--retry", help="failed: those videos once more; damaged: shards whose bytes have changed."),
    ] = None,
    log: Annotated[str | None, typer.Option("--log", help="Add to this file, one JSON object an event.")] = None,
) -> None:
    """Build shards, manifests and receipts; run again after an interruption, it goes on where it was."""
    from semblance.ingest.run import describe
    from semblance.manifests.errors import UsageError

    if retry is not None and retry not in ("failed", "damaged"):
        raise UsageError(f"--retry takes failed or damaged, not {plain(retry)!r}.")
    out = out or f"out/{dataset}"
    console = terminal.console()
    made = _plan(dataset, root, recipe, settings, limit)
    terminal.show_findings(console, made)
    built = _build(made, out, console, log, workers, scheduler, cast(Any, retry), max_failures_in_a_row or None)
    if not built.worked:
        terminal.say(f"{out} is finished already; nothing to do.", console)
    console.print(terminal.summary_table(out))
    terminal.show_empty_shards(console, out)
    terminal.show_masks(console, out, built.description["counts"].get("masks"))
    failed, videos = describe.failures(built.description), built.description["counts"]["videos"]
    terminal.show_next_steps(console, out)
    if failed:
        terminal.show_failures(console, out)
    if failed > max_failures * videos:
        terminal.say(
            f"{failed} of {videos} videos failed, over the budget of {max_failures:.1%}: their rows in "
            f"{plain(out)} say why; everything else is complete."
        )
        raise SystemExit(3)


def _build(
    made: Plan,
    out: str,
    console: Console,
    log: str | None,
    workers: int | None,
    scheduler: str | None,
    retry: Literal["failed", "damaged"] | None,
    in_a_row: int | None,
) -> Built:
    """Build with a bar or lines on the screen and, where one is asked for, a log; a defect gets one sentence."""
    import traceback

    from semblance.ingest.run.build import build as run_build
    from semblance.ingest.run.log import Journal, ObserverGroup, keep_traceback
    from semblance.ingest.run.progress import Watcher
    from semblance.shards import build_folder

    with contextlib.ExitStack() as stack:
        if log is not None:
            build_folder.refuse_inside(out, log, flag="--log")
        journal = stack.enter_context(Journal(log))
        journal.say("build", out=out, root=made.root, dataset=made.source.name, fingerprint=made.fingerprint)
        observer = ObserverGroup([stack.enter_context(Watcher(console)), journal])
        try:
            built = run_build(made, out, observer, workers=workers, scheduler=scheduler, again=retry, in_a_row=in_a_row)
        except KeyboardInterrupt:
            journal.say("interrupted", level=logging.WARNING)
            terminal.say(f"Interrupted. What is sealed in {plain(out)} is kept; run the same command again to go on.")
            raise SystemExit(130) from None
        except SemblanceError as error:
            journal.say("stopped", level=logging.ERROR, error=str(error))
            raise
        except Exception as error:
            journal.say("defect", level=logging.CRITICAL, traceback=traceback.format_exc())
            where = log or keep_traceback(traceback.format_exc())
            raise SemblanceError(
                f"A defect of Semblance stopped the build; its traceback is in {where}; please report it."
            ) from error
        journal.say("finished", shards_written=built.worked, counts=built.description["counts"]["statuses"])
    return built


@app.command()
@friendly
def status(out: Annotated[str, typer.Argument(help="The --out of a build.")]) -> None:
    """Tell what is done, failed and left, from the receipts; also while a build runs."""
    from semblance.ingest.run.status import read

    console = terminal.console()
    for line in read(out).lines():
        terminal.say(terminal.shortened(line, terminal.LINE), console)


@app.command()
@friendly
def doctor() -> None:
    """Look at this machine: versions, decoders, OpenCV packages, cores, memory, what is missing."""
    from rich.table import Table

    from semblance.ingest.doctor import examine

    table = Table(show_header=False)
    found = examine()
    for line in found:
        table.add_row("ok" if line.good else "MEND", line.what, line.value, "" if line.good else line.remedy)
    terminal.console().print(table)
    if not all(line.good for line in found):
        raise SystemExit(1)


def _plan(dataset: str, root: str | None, recipe: str, settings: list[str] | None, limit: int | None) -> Plan:
    from semblance.ingest.plan import make
    from semblance.ingest.recipe import load

    return make(dataset, root or f"data/{dataset}", load(recipe, settings or (), limit))
