"""Carrying out a protocol: everything is checked first, runs are trained or resumed, and the page is made from them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from semblance.manifests import build_files
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.benchmark import benchmark, suite
from semblance.training.benchmark.result import Benchmark
from semblance.training.data import isolation
from semblance.training.evaluation import leaks
from semblance.training.loop import fit
from semblance.training.loop.fit import FitOptions
from semblance.training.protocols import suites
from semblance.training.protocols.plan import Plan, Planned
from semblance.training.recipes.base import TrainingRecipe
from semblance.training.runs.folder import RunDir

Say = Callable[[str], None]


def carry_out(
    plan: Plan,
    to: str | Path,
    options: FitOptions,
    say: Say = print,
    *,
    draws: int,
    date: str | None = None,
    pictures: bool = True,
) -> Benchmark:
    """Train what is missing into ``to``/runs, and write suite.yaml and the page of the benchmark into ``to``.

    Finished runs are kept, and one that was interrupted goes on. Raises, before anything is trained, SemblanceError for
    a run of another recipe, and for leaks into what selects or judges a run; and UsageError for runs of other seeds,
    which the page would count.
    """
    folder = Path(to)
    runs = list(plan.runs(folder))
    _refuse_others(plan, folder)
    begun = [one for one in runs if RunDir(folder / one.folder).begun]
    for one in begun:
        RunDir(folder / one.folder).check(one.recipe, resume=True)
    check_data(plan, runs, begun, options)
    said = ", ".join(variant.row for variant in plan.variants)
    seeds = ", ".join(map(str, plan.seeds))
    say(
        f"{len(runs)} runs: {said}; seed{'s' if len(plan.seeds) > 1 else ''} {seeds}; {len(begun)} of them begun before"
    )
    for note in plan.notes:
        say(f"note: {note}")
    with interruption() as interrupted:
        for number, one in enumerate(runs, 1):
            train(one, folder, options, say, f"run {number} of {len(runs)}")
            if interrupted.is_set():
                raise KeyboardInterrupt
    file = suites.write(plan, folder, draws=draws, options=options, say=say)
    return benchmark.run(suite.read(file), folder, say, date=date, pictures=pictures)


@contextmanager
def interruption() -> Iterator[threading.Event]:
    """Whether an interruption was asked for: its exception is lost where it meets a collection of garbage."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # others are not interrupted
        yield asked
        return

    def notice(number: int, frame: FrameType | None) -> None:
        asked.set()
        signal.default_int_handler(number, frame)

    before = signal.signal(signal.SIGINT, notice)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def train(one: Planned, folder: Path, options: FitOptions, say: Say, place: str) -> None:
    """Train a run, or go on with it; a finished one is kept."""
    run = RunDir(folder / one.folder)
    say(f"{place}: {one.variant.row}, seed {one.recipe.seed}: {run.path}")
    fitted = fit.fit(one.variant.outs, one.recipe, run, replace(options, resume=run.begun), say=say)
    done = "was finished before" if not fitted.worked else "finished"
    say(f"{place} {done} after {fitted.steps} steps; {fitted.told}")


def _refuse_others(plan: Plan, folder: Path) -> None:
    """Raise UsageError if a run that would count on the page is not one of the plan's."""
    wanted = {folder / one.folder for one in plan.runs(folder)}
    for variant in plan.variants:
        for path in sorted((folder / "runs").glob(f"{variant.slug}-seed*")):
            if path not in wanted and RunDir(path).begun:
                raise UsageError(
                    f"{path} is of an earlier command with other --seeds, and the page would count it; name its seed "
                    "too, or remove the folder."
                )


def check_data(plan: Plan, runs: Sequence[Planned], begun: Sequence[Planned], options: FitOptions) -> None:
    """Check what every new variant would be trained, selected and judged on, as the trainings and the page would.

    One that starts from another run is checked together with all that it may have learned from there. Raises
    SemblanceError for leaks and other crops that ``options`` do not allow.
    """
    known = {one.variant.row for one in begun}
    if len(known) == len(plan.variants):
        return
    wanted = [(one.variant, one.recipe) for one in runs if one.variant.after is None]
    checked: list[tuple[tuple[str, ...], TrainingRecipe]] = []
    for variant, recipe in (*wanted, *((one, one.recipe) for one in plan.together)):
        asked = variant.outs, recipe.model_copy(update={"seed": 0})
        if variant.row in known or asked in checked:
            continue
        checked.append(asked)
        data = fit.prepared(variant.outs, recipe, options)
        records = () if data.seen is None else (data.seen,)
        planned = leaks.Planned(name=f"the run {variant.row}", records=records, datasets=data.datasets)
        for column in dict.fromkeys((column.data, column.split) for column in plan.columns):
            _check_column(planned, *column, recipe.data.split_column, options)


def _check_column(planned: leaks.Planned, out: str, split: str, split_column: str, options: FitOptions) -> None:
    found = leaks.of_planned(planned, [out], split, split_column)
    if found and not options.allow_leaks:
        raise SemblanceError(
            f"{found[0]}{isolation.more(len(found))}, so results would be too good; `quality audit` of all builds "
            "lists what they share. Name other builds, or pass --allow-leaks."
        )
    cut = leaks.cut_otherwise([planned], {out: build_files.description(out).get("recipe")})
    if cut and not options.allow_other_crops:
        raise SemblanceError(
            f"{cut[0]}{isolation.more(len(cut))}, so results would mix the cut with the data; build them by one "
            "recipe, or pass --allow-other-crops."
        )
