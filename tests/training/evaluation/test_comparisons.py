"""Differences between runs, repetitions by seed, thresholds elsewhere, worst videos: laws and plain referees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from semblance.manifests.errors import UsageError
from semblance.training.evaluation import comparison, runs, seeds, transfer, worst
from semblance.training.evaluation.comparison import Pair
from semblance.training.evaluation.seeds import Seeds
from semblance.training.inference import predictor
from semblance.training.metrics import delong
from tests.training import untrained

SCHEMA = {"method": pl.String, "compression": pl.String, "target_id": pl.String}


def videos(families: int = 14, datasets: Sequence[str] = ("a",), fakes: int = 2) -> pl.DataFrame:
    """A real and some fakes of each family."""
    rows = [
        {
            "video_id": f"{dataset}-{family:02d}-{number}",
            "dataset": dataset,
            "family_id": f"{dataset}-{family:02d}",
            "label": int(number > 0),
            "method": None,
            "compression": None,
            "target_id": None,
        }
        for dataset in datasets
        for family in range(families)
        for number in range(1 + fakes)
    ]
    return pl.DataFrame(rows, schema_overrides=SCHEMA).sort("video_id")


def scored(table: pl.DataFrame, seed: int, gain: float = 1.0) -> pl.DataFrame:
    logit_N = np.random.default_rng(seed).normal(gain * table["label"].to_numpy(), 1.0)
    return table.with_columns(logit=pl.Series(logit_N), score=pl.Series(predictor.sigmoid(logit_N)))


def compared(
    table: pl.DataFrame, scores: dict[str, pl.DataFrame], *groups: Seeds, draws: int = 200
) -> tuple[Pair, ...]:
    return comparison.compare(table, scores, groups, draws=draws, seed=0)


def test_a_difference_is_that_of_the_two_areas_over_shared_draws() -> None:
    table = videos(14, ("a", "b"))
    scores = {name: scored(table, number, number) for number, name in enumerate(("one", "two", "three"))}
    found = compared(table, scores)
    assert [(one.dataset, one.first, one.second) for one in found[:3]] == [
        *((None, "one", "two"), (None, "one", "three"), (None, "two", "three"))
    ]
    assert [one.dataset for one in found] == [None] * 3 + ["a"] * 3 + ["b"] * 3
    for one in found:
        inside = pl.lit(True) if one.dataset is None else pl.col("dataset") == one.dataset
        first, second = (scores[name].filter(inside) for name in (one.first, one.second))
        areas = [sk.roc_auc_score(part["label"], part["logit"]) for part in (first, second)]
        assert (one.first_auc, one.second_auc) == pytest.approx(tuple(areas))
        assert one.change.value == pytest.approx(areas[0] - areas[1])
        assert one.videos == first.height
        assert one.delong is not None
        assert one.delong == delong.difference(
            *(np.array(part) for part in (first["label"], first["logit"], second["logit"]))
        )
    for dataset in (None, "a", "b"):
        same = [one for one in found if one.dataset == dataset]
        assert [one.p_holm for one in same] == delong.holm([one.p for one in same])


def test_what_is_paired_is_surer_than_what_is_not() -> None:
    """Two models with the same errors differ by little, and are known to: their draws are shared."""
    table = videos(40)
    one = scored(table, 0)
    better = one.with_columns(logit=pl.col("logit") + 0.4 * pl.col("label"))
    (found,) = compared(table, {"one": one, "better": better})
    assert found.change.high is not None
    assert found.change.high < 0
    assert found.p is not None
    assert found.p < 0.05
    (same,) = compared(table, {"one": one, "copy": one.with_columns(logit=2 * pl.col("logit"))})
    assert (same.change.value, same.change.low, same.change.high, same.p) == (0, 0, 0, 1)


def test_copies_of_videos_make_delong_too_sure_but_not_the_draws() -> None:
    """Each fake nine times in its family: nothing is learned, and only whole groups know it."""
    few, many = videos(20, fakes=1), videos(20, fakes=9)
    scores = {}
    for name, seed in (("one", 0), ("two", 1)):
        single = scored(few, seed).filter(label=1).select("family_id", copied="logit")
        table = scored(many, seed).join(single, on="family_id", maintain_order="left")
        scores[name] = table.with_columns(logit=pl.when(pl.col("label") == 1).then("copied").otherwise("logit"))
    (found,) = compared(many, scores, draws=500)
    assert found.delong is not None
    assert found.change.high is not None
    assert found.change.low is not None
    assert found.delong.high - found.delong.low < 0.9 * (found.change.high - found.change.low)


def test_few_groups_are_not_tested() -> None:
    table = videos(9)
    (found,) = compared(table, {"one": scored(table, 0), "two": scored(table, 1)})
    assert found.change.value is not None
    assert (found.change.low, found.p, found.delong, found.p_holm, found.delong_holm) == (None,) * 5


def test_of_many_runs_each_is_compared_with_the_first() -> None:
    names = [f"run{number}" for number in range(8)]
    assert comparison.pairs(names) == [("run0", other) for other in names[1:]]
    assert len(comparison.pairs(names[:6])) == 15
    group = Seeds(name="run", runs=("run0", "run1", "run2"), seeds=(0, 1, 2))
    assert comparison.pairs(names[:4], [group]) == [("run0", "run3"), ("run1", "run3"), ("run2", "run3")]
    table = videos()
    assert compared(table, {name: scored(table, 0) for name in group.runs}, group) == ()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0, np.nan]), max_size=30))
def test_p_is_a_probability_that_does_not_depend_on_the_order(drawn: list[float]) -> None:
    p, turned = (comparison.two_sided(sign * np.array(drawn, float)) for sign in (1, -1))
    assert p == turned
    assert (p is None) == (not [one for one in drawn if one == one])
    assert p is None or 0 < p <= 1


def test_runs_of_one_recipe_and_other_seeds_are_a_group(ffpp: Path, dfdc: Path, tmp_path: Path) -> None:
    made = {
        "net-seed0": untrained.make(tmp_path / "net-seed0", [ffpp], "seed=0"),
        "net-seed10": untrained.make(tmp_path / "net-seed10", [ffpp], "seed=10"),
        "again": untrained.make(tmp_path / "again", [ffpp], "seed=10"),
        "longer": untrained.make(tmp_path / "longer", [ffpp], "seed=3", "epochs=7"),
        "elsewhere": untrained.make(tmp_path / "elsewhere", [dfdc], "seed=4"),
    }
    (group,) = seeds.find([predictor.load(path) for path in made.values()])
    assert group == Seeds(name="net", runs=("net-seed0", "net-seed10"), seeds=(0, 10))
    systems = seeds.systems(list(made), [group])
    assert list(systems) == ["net (2 seeds)", "again", "longer", "elsewhere"]
    assert runs.matching([str(tmp_path / "net-*"), str(tmp_path / "net-seed0")]) == [
        *(str(made["net-seed0"]), str(made["net-seed10"]))
    ]
    (tmp_path / "net-notes").mkdir()
    assert len(runs.matching([f"{tmp_path}/net-*"])) == 2
    assert runs.matching([str(made["again"])] * 2) == [str(made["again"])] * 2  # refused later, as ever
    with pytest.raises(UsageError, match="No trained run matches"):
        runs.matching([f"{tmp_path}/no-*"])


def test_a_spread_is_that_of_a_sample() -> None:
    found = seeds.spread([0.7, 0.8, 0.75])
    assert found is not None
    assert (found.mean, found.sd, found.runs) == pytest.approx(
        (np.mean([0.7, 0.8, 0.75]), np.std([0.7, 0.8, 0.75], ddof=1), 3)
    )
    assert seeds.spread([0.7, None]) is None
    assert seeds.spread([0.7]) is None


def test_a_threshold_elsewhere_never_beats_the_best_one_there() -> None:
    table = videos(12, ("a", "b"))
    one = scored(table, 3, 1.5).with_columns(logit=pl.col("logit") + 2.0 * (pl.col("dataset") == "b"))
    found = transfer.measure({"one": one}, {"one": 0.3})
    assert [(part.source, part.dataset) for part in found] == [
        *((None, "a"), (None, "b"), ("a", "a"), ("a", "b"), ("b", "a"), ("b", "b"))
    ]
    for part in found:
        rows = one.filter(dataset=part.dataset)
        called = rows["logit"] >= part.threshold
        assert part.balanced_accuracy == pytest.approx(sk.balanced_accuracy_score(rows["label"], called))
        limits = (*rows["logit"], np.inf)
        assert part.best == pytest.approx(
            max(sk.balanced_accuracy_score(rows["label"], rows["logit"] >= limit) for limit in limits)
        )
        assert part.loss >= -1e-12
        assert part.source != part.dataset or part.loss == pytest.approx(0)
    (alone,) = transfer.measure({"one": one.filter(dataset="a")}, {"one": 0.3})
    assert alone == replace(found[0])


def test_the_worst_videos_are_the_highest_reals_and_the_lowest_fakes() -> None:
    table = scored(videos(14), 2)
    pictures = table.select("video_id", "logit").join(pl.DataFrame({"person": [0, 1], "less": [0.0, 1.0]}), how="cross")
    pictures = pictures.join(pl.DataFrame({"frame": list(range(9))}), how="cross").with_columns(
        logit=pl.col("logit") - pl.col("less"),
        sample_id=pl.format("{}-{}-{}", "video_id", "frame", "person"),
    )
    found = worst.find("one", table, pictures, 0.5)
    for label, highest in ((0, True), (1, False)):
        ranked = table.filter(label=label).sort("logit", descending=highest)["video_id"].head(worst.VIDEOS).to_list()
        assert [one.video_id for one in found if one.label == label] == ranked
    for one in found:
        assert one.wrong == ((one.logit >= 0.5) != (one.label == 1))
        assert one.sample_ids == tuple(f"{one.video_id}-{frame}-0" for frame in (1, 3, 5, 7))
