"""Distillation in stages: ever smaller students of one teacher, each begun only if the one before kept enough of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.quality.statistics.bootstrap import Estimate
from semblance.training import export
from semblance.training.benchmark.suite import Asked, Column
from semblance.training.evaluation import comparison, cost, evaluate, predictions
from semblance.training.evaluation.prepare import Prepared, prepare
from semblance.training.export import latency
from semblance.training.export.latency import Latency
from semblance.training.export.run import crops
from semblance.training.inference import predictor
from semblance.training.inference.predictor import Predictor
from semblance.training.loop import origins
from semblance.training.loop.fit import FitOptions
from semblance.training.protocols import carry_out, students
from semblance.training.protocols.carry_out import Say
from semblance.training.protocols.plan import Plan
from semblance.training.protocols.students import Student
from semblance.training.recipes import TrainingRecipe
from semblance.training.runs import checkpoint
from semblance.training.runs.folder import RunDir

STAGES: Final = (1.0, 0.5, 0.25)
THRESHOLD: Final = 0.95
OPENVINO: Final = "openvino"
_NOTHING: Final = Asked(consistency=None, gain=None, ensemble_gain=None, robustness=None, latency=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is distilled into what. ``threshold``: the share of the teacher's AUC that the next stage begins with."""

    outs: tuple[str, ...]
    teacher: str
    recipe: TrainingRecipe
    stages: tuple[float, ...] = STAGES
    threshold: float = THRESHOLD
    chain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """AUC by video on one split: that of a student and, on the same videos, of the teacher.

    ``change``: student minus teacher, with an interval over draws of whole groups. ``share``: student / teacher.
    """

    auc: float
    teacher: float
    change: Estimate

    @property
    def share(self) -> float:
        return self.auc / self.teacher


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The teacher (``share`` None) or a student: what it keeps and what it costs.

    ``gflop`` is of one picture, with all members and mirror images. ``latency``: by runtime.
    """

    name: str
    share: float | None
    width: float | None
    gflop: float
    parameters: int
    latency: dict[str, Latency]
    val: Kept
    test: Kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Distilled:
    """The table. ``stopped``: why stages were not begun, in a sentence. ``date``: that of the figures."""

    wish: Wish
    date: str
    lines: tuple[Line, ...]
    stopped: str | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Judged:
    """One split, and how the teacher answers it. ``scores``: its videos with a logit, by name."""

    prepared: Prepared
    scores: dict[str, pl.DataFrame]

    def add(self, one: Predictor) -> None:
        tables = predictions.by_model(predictions.predict([one], self.prepared.selection))
        self.scores[one.name] = predictions.of_videos(self.prepared.videos, tables[one.name], one)

    def kept(self, name: str, teacher: str, draws: int) -> Kept:
        """Over all builds together, on videos with a kept face."""
        rows = {"student": self.scores[name], "teacher": self.scores[teacher]}
        found = comparison.compare(self.prepared.videos, rows, draws=draws if name != teacher else 0, seed=0)
        if not found:
            raise SemblanceError(
                f"Split {self.prepared.selection.split} of {', '.join(self.prepared.selection.outs)} has faces of one "
                "class only, so no AUC can be compared; add a build with --data."
            )
        return Kept(auc=found[0].first_auc, teacher=found[0].second_auc, change=found[0].change)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """The stages that were trained, ready to be measured. ``stopped``: as in ``Distilled``."""

    wish: Wish
    teacher: Predictor
    students: tuple[tuple[Student, Predictor], ...]
    val: _Judged
    test: _Judged
    stopped: str | None


def carry_out_stages(
    wish: Wish, to: str | Path, options: FitOptions, say: Say = print, *, draws: int, date: str | None = None
) -> Distilled:
    """Train the stages into ``to``/runs one after another, as far as the threshold lets them, and judge them.

    Raises what ``train_stages`` and ``export.export`` raise.
    """
    date = date or evaluate.now()
    trained = train_stages(wish, to, options, say)
    say("measuring what the teacher and its students keep and cost")
    return measured(trained, Path(to), draws=draws, date=date)


def train_stages(wish: Wish, to: str | Path, options: FitOptions, say: Say = print) -> Trained:
    """Train the stages that begin. Finished ones are kept, and one that was interrupted goes on.

    Raises, before anything is trained, UsageError for a teacher that is none or scores clips and for stages that the
    model cannot have, and SemblanceError for leaks, and for a run of another recipe or of another teacher.
    """
    folder = Path(to)
    teacher = _teacher(wish)
    made = students.make(
        wish.outs, wish.recipe, wish.teacher, wish.stages, chain=wish.chain, runs=str(folder.absolute() / "runs")
    )
    _check(wish, made, folder, options)
    column = wish.recipe.data.split_column
    val, test = (_judged(wish, split, column, teacher, options, say) for split in ("val", "test"))
    for student in made:
        say(
            f"{student.name}: {student.gflop:.3f} GFLOP a picture, {student.has:.2f} of the first student's; "
            f"width {student.width:g}"
        )
    finished: list[tuple[Student, Predictor]] = []
    stopped = None
    with carry_out.interruption() as interrupted:
        for number, student in enumerate(made, 1):
            _same_teacher(student, folder)
            carry_out.train(student.planned, folder, options, say, f"stage {number} of {len(made)}")
            if interrupted.is_set():
                raise KeyboardInterrupt
            one = predictor.load(folder / student.planned.folder)
            finished.append((student, one))
            val.add(one)
            kept = val.kept(one.name, teacher.name, 0)
            figures = f"{kept.auc:.3f} of {kept.teacher:.3f}"
            told = f"{student.name} keeps {kept.share:.3f} of the teacher's AUC by video on val ({figures})"
            say(told)
            if kept.share < wish.threshold:
                rest = ", ".join(later.name for later in made[number:])
                stopped = f"{told}, less than {wish.threshold:g}{f', so {rest} was not begun' if rest else ''}."
                break
    return Trained(wish=wish, teacher=teacher, students=tuple(finished), val=val, test=test, stopped=stopped)


def measured(trained: Trained, folder: Path, *, draws: int, date: str) -> Distilled:
    """The table of what was trained; exported files stay in ``folder``/export."""
    lines = []
    every: list[tuple[Student | None, Predictor]] = [(None, trained.teacher), *trained.students]
    for student, one in every:
        if student is not None:
            trained.test.add(one)
        lines.append(
            Line(
                name=one.name,
                share=None if student is None else student.share,
                width=None if student is None else student.width,
                gflop=sum(cost.gflop(part.trained.recipe.model, part.size) * (1 + part.mirror) for part in one.members),
                parameters=sum(weight.numel() for part in one.members for weight in part.trained.model.parameters()),
                latency=_latency(one, folder, trained.wish.outs),
                val=trained.val.kept(one.name, trained.teacher.name, draws),
                test=trained.test.kept(one.name, trained.teacher.name, draws),
            )
        )
    return Distilled(wish=trained.wish, date=date, lines=tuple(lines), stopped=trained.stopped)


def _teacher(wish: Wish) -> Predictor:
    teacher = predictor.load(wish.teacher)
    if clips := [one for one in teacher.members if one.clip > 1]:
        raise UsageError(
            f"The teacher {wish.teacher} scores clips of {clips[0].clip} pictures, and students learn from single "
            "pictures; name a run or ensemble over pictures."
        )
    if teacher.name in {students.name(share) for share in wish.stages}:
        raise UsageError(f"The teacher's folder has the name of a stage ({teacher.name}); rename it.")
    return teacher


def _check(wish: Wish, made: Sequence[Student], folder: Path, options: FitOptions) -> None:
    """All that can be known before the first step; see ``train_stages``."""
    begun = [student for student in made if RunDir(folder / student.planned.folder).begun]
    for student in begun:
        RunDir(folder / student.planned.folder).check(student.planned.recipe, resume=True)
    first = made[0].planned
    plan = Plan(
        command="distil",
        title="",
        variants=(first.variant,),
        seeds=(first.recipe.seed,),
        columns=tuple(Column(name=out, data=out, split_column=first.recipe.data.split_column) for out in wish.outs),
        asked=_NOTHING,
    )
    carry_out.check_data(plan, [first], [first] if made[0] in begun else [], options)


def _same_teacher(student: Student, folder: Path) -> None:
    """Raise SemblanceError if a stage that was begun before had another teacher, also under the same name."""
    last = RunDir(folder / student.planned.folder).last
    if last.exists():
        origins.check_same(origins.hashes(student.planned.recipe), checkpoint.load(last).get("sources", {}), str(last))


def _judged(wish: Wish, split: str, column: str, teacher: Predictor, options: FitOptions, say: Say) -> _Judged:
    """The split with the teacher's answers. What it was selected on is no news where val itself is judged."""
    prepared = prepare(
        wish.outs,
        [teacher],
        split=split,
        split_column=column,
        allow_leaks=options.allow_leaks,
        allow_other_crops=options.allow_other_crops,
        say=say if split == "test" else lambda _: None,
    )
    judged = _Judged(prepared=prepared, scores={})
    judged.add(teacher)
    if judged.kept(teacher.name, teacher.name, 0).auc <= 0:
        raise SemblanceError(f"The teacher's AUC on {split} is 0, so no share of it can be kept; name another one.")
    return judged


def _latency(one: Predictor, folder: Path, outs: Sequence[str]) -> dict[str, Latency]:
    """In torch and OpenVINO, on the same crops of val; the exported files stay in ``folder``/export."""
    file = folder / "export" / f"{one.name}.xml"
    export.export(one, OPENVINO, str(file), outs)
    return latency.measure(one, {OPENVINO: file}, crops(one, outs))
