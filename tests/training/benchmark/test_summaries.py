"""Consistency, gains and verdicts of a benchmark: by hand, and against a plain bootstrap that loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from semblance.quality.statistics.bootstrap import Estimate
from semblance.training.benchmark import asked, cells, draws, summaries
from semblance.training.benchmark.cells import Cell, Role
from semblance.training.benchmark.columns import Measured
from semblance.training.benchmark.draws import Areas
from semblance.training.benchmark.suite import Asked, Column, Suite
from semblance.training.benchmark.systems import System
from semblance.training.evaluation.results import LEVELS

Scores = Mapping[str, Sequence[float]]
SCHEMA = {"method": pl.String, "compression": pl.String, "target_id": pl.String}
DRAWS = 400


def videos(dataset: str, families: int = 14, fakes: int = 2) -> pl.DataFrame:
    """A real and some fakes of each family; families of all datasets have the same names."""
    rows = [
        {
            "video_id": f"{dataset}-{family:02d}-{number}",
            "dataset": dataset,
            "family_id": f"{family:02d}",
            "label": int(number > 0),
            "method": None,
            "compression": None,
            "target_id": None,
        }
        for family in range(families)
        for number in range(1 + fakes)
    ]
    return pl.DataFrame(rows, schema_overrides=SCHEMA)


def column(name: str, table: pl.DataFrame, scores: Scores) -> Measured:
    """A column without its evaluation, which no draw needs."""
    logits = {run: table.with_columns(logit=pl.Series(values, dtype=pl.Float64)) for run, values in scores.items()}
    return Measured(
        column=Column(name=name, data="out"),
        result=cast(Any, None),
        videos=table,
        rows={},
        logits=logits,
        folder="columns/one",
    )


def scored(table: pl.DataFrame, seed: int, gain: float = 1.0) -> list[float]:
    return list(np.random.default_rng(seed).normal(gain * table["label"].to_numpy(), 1.0))


def cell(row: str, name: str, role: Role | None, value: float | None = 0.5) -> Cell:
    return Cell(
        row=row,
        column=name,
        mark="seen",
        role=role,
        fault=None,
        note=None,
        figures=dict.fromkeys(LEVELS, Estimate(value=value)),
        spreads={},
        reals=14,
        fakes=28,
        scored=42,
        listed=42,
        least=14,
    )


def system(name: str, *runs: str, seeds: Sequence[int] = (0,), members: tuple[str, ...] = ()) -> System:
    return System(name=name, runs=runs or (name,), seeds=tuple(seeds), members=members)


def areas(*measured: Measured) -> Areas:
    return draws.areas(measured, draws=DRAWS, seed=0)


def area(one: Measured, run: str) -> float:
    return float(sk.roc_auc_score(one.videos["label"], one.logits[run]["logit"]))


SEEN, FIRST, SECOND = videos("a"), videos("b", 12), videos("c", 20, fakes=1)


@pytest.fixture(scope="module")
def three() -> list[Measured]:
    """A seen column and two unseen ones, of three runs each."""
    tables = {"seen": SEEN, "first": FIRST, "second": SECOND}
    return [
        column(name, table, {f"r{run}": scored(table, 10 * place + run, 2.0 - place / 2) for run in range(3)})
        for place, (name, table) in enumerate(tables.items())
    ]


def of(rows: Sequence[System]) -> list[Cell]:
    roles: dict[str, Role] = {"seen": "seen", "first": "unseen dataset", "second": "unseen dataset"}
    return [cell(row.name, name, role) for row in rows for name, role in roles.items()]


def test_consistency_is_the_mean_unseen_area_over_the_seen_one(three: list[Measured]) -> None:
    rows = [system("one", "r0"), system("all", "r0", "r1", "r2", seeds=(0, 1, 2))]
    one, every = summaries.consistency(rows, of(rows), areas(*three))
    by_run = [(area(three[1], run) + area(three[2], run)) / 2 / area(three[0], run) for run in rows[1].runs]
    assert one.ratio.value == pytest.approx(by_run[0])
    assert (one.role, one.seen, one.unseen) == ("unseen dataset", ("seen",), ("first", "second"))
    assert every.ratio.value == pytest.approx(np.mean(by_run))
    assert every.over is not None
    assert every.over.sd == pytest.approx(np.std(by_run, ddof=1))
    assert every.seen_auc.value == pytest.approx(np.mean([area(three[0], run) for run in rows[1].runs]))


def naive(three: Sequence[Measured], runs: Sequence[str], rng: np.random.Generator) -> float:
    """One draw of the consistency: copies of the rows of drawn families, pairs counted one by one, runs drawn."""
    kept = []
    for one in three:
        family = one.videos["family_id"].to_numpy()
        names = np.unique(family)
        kept.append(np.concatenate([np.flatnonzero(family == name) for name in rng.choice(names, len(names))]))
    ratios = {}
    for run in runs:
        auc = []
        for one, rows in zip(three, kept, strict=True):
            label, logit = one.videos["label"].to_numpy()[rows], one.logits[run]["logit"].to_numpy()[rows]
            auc.append(np.mean(logit[label == 1][:, None] > logit[label == 0]))
        ratios[run] = (auc[1] + auc[2]) / 2 / auc[0]
    return float(np.mean([ratios[run] for run in rng.choice(runs, len(runs))]))


@pytest.mark.parametrize("runs", [("r0",), ("r0", "r1", "r2")])
def test_its_interval_is_that_of_a_plain_bootstrap(three: list[Measured], runs: tuple[str, ...]) -> None:
    row = system("row", *runs, seeds=range(len(runs)))
    found = draws.areas(three, draws=2000, seed=0)
    (one,) = summaries.consistency([row], of([row]), found)
    rng = np.random.default_rng(5)
    low, high = np.percentile([naive(three, runs, rng) for _ in range(1500)], (2.5, 97.5))
    assert (one.ratio.low, one.ratio.high) == pytest.approx((low, high), abs=0.02)


def test_columns_of_one_dataset_share_draws_and_others_do_not() -> None:
    scores = {"run": scored(SEEN, 3)}
    twin = SEEN.with_columns(video_id=pl.col("video_id") + "-c40")
    other = SEEN.with_columns(dataset=pl.lit("z"))
    row, roles = system("run"), (("seen", "seen"), ("again", "unseen method"), ("other", "unseen dataset"))
    found = areas(column("seen", SEEN, scores), column("again", twin, scores), column("other", other, scores))
    across, within = summaries.consistency([row], [cell("run", name, cast(Role, role)) for name, role in roles], found)
    assert (within.ratio.value, within.ratio.low, within.ratio.high) == (1, 1, 1)
    assert across.ratio.value == 1
    assert across.ratio.low is not None
    assert across.ratio.low < 0.97, "two datasets with the same names of families are drawn apart"


def test_a_gain_is_paired_by_video_and_by_seed(three: list[Measured]) -> None:
    base, copy = system("base", "r0", "r1", seeds=(0, 1)), system("copy", "r0", "r1", seeds=(0, 1))
    shifted, alone = system("shifted", "r0", "r1", seeds=(2, 3)), system("alone", "r2")
    rows = [base, copy, shifted, alone]
    found = {(one.row, one.part, one.columns): one for one in summaries.gains(rows, of(rows), areas(*three), "base")}
    same = found["copy", None, ("seen",)]
    assert (same.points.value, same.points.low, same.points.high, same.paired) == (0, 0, 0, True)
    apart = found["shifted", None, ("seen",)]
    assert apart.points.value == 0
    assert apart.points.low is not None
    assert apart.points.low < 0
    assert not apart.paired
    mean = found["alone", "unseen dataset", ("first", "second")]
    means = [np.mean([area(one, run) for one in three[1:]]) for run in ("r0", "r1", "r2")]
    assert mean.points.value == pytest.approx(means[2] - (means[0] + means[1]) / 2)
    assert mean.relative.value == pytest.approx(means[2] / ((means[0] + means[1]) / 2) - 1)
    drawn = areas(*three)
    single = summaries.compare(alone, system("r0"), ("seen",), None, drawn).relative
    ratio_D = drawn.drawn["seen", "r2"] / drawn.drawn["seen", "r0"] - 1
    assert (single.low, single.high) == pytest.approx(tuple(np.percentile(ratio_D, (2.5, 97.5))))
    assert {key[1:] for key in found if key[0] == "alone"} == {
        *((None, (name,)) for name in ("seen", "first", "second")),
        *(("seen", ("seen",)), ("unseen dataset", ("first", "second"))),
    }


def test_what_is_not_alike_is_not_compared(three: list[Measured]) -> None:
    rows = [system("base", "r0"), system("other", "r1")]
    made = [*of(rows[:1]), cell("other", "seen", "unseen dataset"), cell("other", "first", None, None)]
    made.append(cell("other", "second", "unseen dataset"))
    found = summaries.gains(rows, made, areas(*three), "base")
    assert [(one.part, one.columns) for one in found] == [
        *((None, ("seen",)), (None, ("second",)), ("unseen dataset", ("second",)))
    ]


def test_few_groups_have_no_interval_and_no_verdict(three: list[Measured]) -> None:
    few = videos("b", 9)
    columns = [three[0], column("first", few, {"r0": scored(few, 1)}), three[2]]
    row = system("row", "r0")
    (one,) = summaries.consistency([row], of([row]), areas(*columns))
    assert one.ratio.value is not None
    assert (one.ratio.low, one.unseen_auc.low) == (None, None)
    assert one.seen_auc.low is not None
    suite = Suite.model_validate({"rows": [{"name": "row", "runs": "r"}], "columns": [{"name": "a", "data": "o"}]})
    answer = asked.answers(suite, [row], [one], [], [], {})[0]
    assert (answer.verdict, answer.data) == ("too few groups to tell", "first, second / seen")


def test_the_best_member_is_chosen_on_the_same_data(three: list[Measured]) -> None:
    rows = [system("both", "r2", members=("x", "y")), system("some", "r2", members=("x", "lost"))]
    found = summaries.over_members(rows, of(rows), areas(*three), {"r0": "x", "r1": "y"})
    assert [one.gain.part if one.gain else one.reason for one in found] == [
        *("seen", "unseen dataset", "1 of its 2 members are in no row")
    ]
    gain = found[1].gain
    assert gain is not None
    unseen = {run: np.mean([area(one, run) for one in three[1:]]) for run in ("r0", "r1", "r2")}
    assert gain.other == max(("r0", "r1"), key=lambda run: unseen[run])
    assert gain.points.value == pytest.approx(unseen["r2"] - max(unseen["r0"], unseen["r1"]))


@pytest.mark.parametrize(
    ("value", "low", "high", "level", "gain"),
    [
        (0.95, 0.91, 0.99, "met", "met"),
        (0.95, 0.90, 0.99, "not shown", "met"),
        (0.95, -0.1, 1.20, "not shown", "not shown"),
        (0.90, 0.85, 0.95, "not shown", "not shown"),
        (0.80, 0.70, 0.90, "not met", "not met"),
        (0.95, None, None, "too few groups to tell", "too few groups to tell"),
        (None, None, None, "not measured", "not measured"),
    ],
)
def test_verdicts(value: float | None, low: float | None, high: float | None, level: str, gain: str) -> None:
    found = Estimate(value=value, low=low, high=high)
    assert asked.above(found, 0.9) == level
    assert asked.gained(found, 0.9) == gain


def test_one_that_has_learned_nothing_is_not_consistent() -> None:
    """Half divided by half is more than 90 %."""
    chance = Estimate(value=0.5, low=0.49, high=0.51)
    row, ratio = system("row"), Estimate(value=1.0, low=0.97, high=1.03)
    one = summaries.Consistency(
        row="row",
        role="unseen dataset",
        seen=("a",),
        unseen=("b",),
        seen_auc=chance,
        unseen_auc=chance,
        ratio=ratio,
        over=None,
    )
    suite = Suite.model_validate({"rows": [{"name": "row", "runs": "r"}], "columns": [{"name": "a", "data": "o"}]})
    (answer, *_) = asked.answers(suite, [row], [one], [], [], {})
    assert answer.verdict == "not shown"
    assert "near chance" in answer.note


def test_what_is_not_asked_is_not_answered() -> None:
    nothing = Asked(consistency=None, gain=None, ensemble_gain=None, robustness=None, latency=None)
    suite = Suite.model_validate({"rows": [{"name": "row", "runs": "r"}], "columns": [{"name": "a", "data": "o"}]})
    assert asked.answers(suite.model_copy(update={"asked": nothing}), [], [], [], [], {}) == ()
    assert {one.verdict for one in asked.answers(suite, [], [], [], [], {})} == {"not measured"}


@pytest.mark.parametrize(
    ("kind", "mark", "role", "fault"),
    [
        ("seen", "seen", "seen", None),
        ("seen", "mixed", None, "trained on a part of it"),
        ("seen", "unseen dataset", None, "not trained on the dataset"),
        ("unseen dataset", "unseen dataset", "unseen dataset", None),
        ("unseen dataset", "seen", None, "trained on it"),
        ("unseen dataset", "unseen method", None, "trained on the dataset without its methods"),
        ("unseen method", "unseen method", "unseen method", None),
        ("unseen method", "unseen dataset", None, "not trained on the dataset"),
        ("unseen dataset", "unknown", None, None),
        (None, "unseen method", "unseen method", None),
        (None, "mixed", None, None),
        (None, "unknown", None, None),
        ("compressed", "seen", "compressed", None),
        ("low quality", "unseen dataset", "low quality", None),
    ],
)
def test_a_kind_is_checked_against_what_the_record_says(
    kind: str | None, mark: str, role: str | None, fault: str | None
) -> None:
    asked_for = Column.model_validate({"name": "a", "data": "o", "kind": kind})
    assert cells.judged(asked_for, mark) == (role, fault)


def test_degraded_pictures_count_as_neither_seen_nor_unseen() -> None:
    column = Column.model_validate({"name": "a", "data": "o", "degrade": {"jpeg": 30}})
    assert cells.judged(column, "unseen dataset") == ("low quality", None)
