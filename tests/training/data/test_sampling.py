"""Laws of sampling and order, the pure functions behind the loader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.data import order, sampling
from semblance.training.data.sampling import SamplingConfig

UNITS = st.lists(
    st.tuples(
        st.sampled_from(["ffpp", "dfdc", "celebdf"]),
        st.sampled_from(["pristine", "Deepfakes", "FaceSwap", None]),
        st.floats(0.1, 5.0),
    ),
    min_size=1,
    max_size=60,
)


def table(rows: Sequence[tuple[str, str | None, float]]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "dataset": [row[0] for row in rows],
            "method": [row[1] for row in rows],
            "target": [float(row[1] != "pristine") for row in rows],
            "weight": [row[2] for row in rows],
            "paired": False,
        },
        schema_overrides={"method": pl.String},
    )


@given(rows=UNITS, seed=st.integers(0, 99), epoch=st.integers(0, 99))
def test_by_default_each_unit_is_drawn_once(rows: list[tuple[str, str | None, float]], seed: int, epoch: int) -> None:
    units = table(rows).with_columns(weight=pl.lit(1.0))
    assert sampling.draw(units, SamplingConfig(), seed=seed, epoch=epoch).tolist() == [1] * len(rows)


@given(rows=UNITS, draws=st.integers(1, 300), seed=st.integers(0, 99), weighed=st.booleans())
def test_units_are_drawn_in_proportion_to_their_weights(
    rows: list[tuple[str, str | None, float]], draws: int, seed: int, weighed: bool
) -> None:
    units = table(rows) if weighed else table(rows).with_columns(weight=pl.lit(1.0))
    counts = sampling.draw(units, SamplingConfig(draws=draws), seed=seed, epoch=0)
    assert counts.sum() == draws
    weights = units["weight"].to_numpy()
    assert (abs(counts - draws * weights / weights.sum()) < 1 + 1e-6).all()
    assert (counts == sampling.draw(units, SamplingConfig(draws=draws), seed=seed, epoch=0)).all()


@given(rows=UNITS, draws=st.integers(1, 500), shares=st.tuples(*[st.floats(0.1, 9)] * 3), seed=st.integers(0, 9))
def test_a_mix_gives_each_dataset_its_share(
    rows: list[tuple[str, str | None, float]], draws: int, shares: tuple[float, ...], seed: int
) -> None:
    units = table(rows)
    mix = dict(zip(["ffpp", "dfdc", "celebdf"], shares, strict=True))
    counts = sampling.draw(units, SamplingConfig(mix=mix, draws=draws), seed=seed, epoch=3)
    present = set(units["dataset"])
    total = sum(mix[name] for name in present)
    for name in present:
        assert abs(counts[(units["dataset"] == name).to_numpy()].sum() - draws * mix[name] / total) < 1 + 1e-6
    assert counts.sum() == draws


@given(rows=UNITS, draws=st.integers(1, 500), mixed=st.booleans())
def test_balance_is_half_and_half_and_equal_by_method(
    rows: list[tuple[str, str | None, float]], draws: int, mixed: bool
) -> None:
    mix = {"ffpp": 60.0, "dfdc": 25.0, "celebdf": 15.0} if mixed else None
    units = table(rows)
    config = SamplingConfig(mix=mix, balanced_per_method=True, draws=draws)
    groups = [units.filter(pl.col("dataset") == name) for name in units["dataset"].unique()] if mixed else [units]
    if any(group["target"].n_unique() < 2 for group in groups):
        with pytest.raises(SemblanceError, match=r"there is no (real|fake)"):
            sampling.draw(units, config, seed=0, epoch=0)
        return
    counts = sampling.draw(units, config, seed=0, epoch=0)
    drawn = units.with_columns(count=pl.Series(counts)).with_columns(
        part=pl.coalesce("method", pl.concat_str(pl.lit("nameless "), "dataset")),
        group=pl.col("dataset") if mixed else pl.lit(""),
    )
    for _, group in drawn.group_by("group"):
        share = 1.0 if mix is None else mix[group["dataset"][0]] / sum(mix[name] for name in set(units["dataset"]))
        parts = group.filter(pl.col("target") == 1).group_by("part").agg(pl.col("count").sum())
        real = group.filter(pl.col("target") == 0)["count"].sum()
        assert abs(real - draws * share / 2) < 1 + 1e-6
        assert all(abs(count - draws * share / 2 / parts.height) < 1 + 1e-6 for count in parts["count"])


def test_equal_units_take_turns() -> None:
    """In an epoch no unit is drawn twice before all are drawn once, and epochs differ."""
    units = table([("ffpp", "Deepfakes", 1.0)] * 10 + [("ffpp", "pristine", 1.0)] * 2)
    config = SamplingConfig(balanced_per_method=True, draws=12)
    epochs = [sampling.draw(units, config, seed=1, epoch=epoch) for epoch in range(40)]
    assert all(counts[:10].max() == 1 and set(counts[10:]) == {3} for counts in epochs)
    assert len({counts.tobytes() for counts in epochs}) > 10
    assert np.sum(epochs, 0)[:10].min() > 0


def test_the_description_lists_shares() -> None:
    units = table([("ffpp", "Deepfakes", 1.0), ("ffpp", "pristine", 1.0)])
    config = SamplingConfig(mix={"ffpp": 60, "dfdc": 40}, balanced_per_method=True)
    description = sampling.describe(units, config)
    assert description == "2 draws: ffpp real 50.0%, ffpp Deepfakes 50.0%; no build of dfdc, which the mix names"


def test_impossible_draws_are_reported() -> None:
    units = table([("ffpp", "Deepfakes", 1.0), ("dfdc", "pristine", 1.0)])
    with pytest.raises(UsageError, match="but not dfdc"):
        sampling.draw(units, SamplingConfig(mix={"ffpp": 1.0}), seed=0, epoch=0)
    with pytest.raises(SemblanceError, match="have weight 0"):
        sampling.draw(units.with_columns(weight=pl.lit(0.0)), SamplingConfig(), seed=0, epoch=0)
    with pytest.raises(ValueError, match="above 0"):
        SamplingConfig(mix={"ffpp": 0.0})


@st.composite
def worlds(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Counts, shards and places of units, and the sizes of the shards."""
    size = draw(st.integers(1, 60))
    shards = draw(st.integers(1, 5))
    counts = np.array(draw(st.lists(st.integers(0, 9), min_size=size, max_size=size)), np.int32)
    counts[draw(st.integers(0, size - 1))] += 1
    shard_U = np.array(draw(st.lists(st.integers(0, shards - 1), min_size=size, max_size=size)), np.int32)
    samples_S = np.bincount(shard_U, minlength=shards) + draw(st.integers(0, 5))
    return counts, shard_U, np.arange(size)[::-1].copy() * 1000, samples_S


@given(world=worlds(), seed=st.integers(0, 9), epoch=st.integers(0, 9))
def test_the_plan_holds_every_draw_in_reading_order(world: tuple[np.ndarray, ...], seed: int, epoch: int) -> None:
    counts, shard_U, place_U, samples_S = world
    plan = order.plan(counts, shard_U, place_U, samples_S, seed=seed, epoch=epoch)
    assert Counter(plan.unit_N.tolist()) == Counter({unit: n for unit, n in enumerate(counts.tolist()) if n})
    assert len({(unit, copy) for unit, copy in zip(plan.unit_N, plan.copy_N, strict=True)}) == counts.sum()
    assert sorted(set(plan.visit_N.tolist())) == list(range(len(plan.shard_V)))
    assert (np.diff(plan.visit_N) >= 0).all()
    assert (plan.shard_V[plan.visit_N] == shard_U[plan.unit_N]).all()
    for visit in range(len(plan.shard_V)):
        assert (np.diff(place_U[plan.unit_N[plan.visit_N == visit]]) >= 0).all()
    read = int(samples_S[plan.shard_V].sum())  # samples in all visits
    assert read <= counts.sum() + 2 * samples_S[np.unique(shard_U)].sum()


@given(draws=st.integers(1, 400), ranks=st.integers(1, 8), batch=st.integers(1, 40), workers=st.integers(1, 5))
def test_ranks_get_equally_many_batches_and_no_draw_is_lost(draws: int, ranks: int, batch: int, workers: int) -> None:
    if draws < ranks:
        with pytest.raises(SemblanceError, match="fewer ranks"):
            order.cut(draws, ranks, batch)
        return
    cut = order.cut(draws, ranks, batch)
    assert cut.sizes_RK.shape == (ranks, cut.batches)
    assert cut.sizes_RK.sum() == draws
    assert cut.sizes_RK.min() >= 1
    assert cut.sizes_RK.max() <= max(batch, 2)
    assert cut.sizes_RK.max() - cut.sizes_RK.min() <= 1
    pieces = [cut.piece(rank, worker, workers) for rank in range(ranks) for worker in range(workers)]
    assert [start for start, _, _ in pieces] == [0, *(stop for _, stop, _ in pieces[:-1])]
    assert pieces[-1][1] == draws
    assert all(stop - start == sizes.sum() for start, stop, sizes in pieces)


@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=9), buffer=st.integers(1, 50), ways=st.integers(1, 4))
def test_mixing_is_a_permutation_within_the_buffer(sizes: list[int], buffer: int, ways: int) -> None:
    visit_N = np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)
    read, emitted = order.mix(visit_N, buffer=buffer, ways=ways, rng=np.random.default_rng(0))
    assert sorted(read) == sorted(emitted) == list(range(len(visit_N)))
    for visit in range(len(sizes)):  # a stream is read forwards
        assert (np.diff(read[visit_N[read] == visit]) > 0).all()
    held: set[int] = set()
    source = iter(read.tolist())
    opened: set[int] = set()
    for draw in emitted.tolist():
        while draw not in held:
            held.add(pulled := next(source))
            opened.add(int(visit_N[pulled]))
        assert len(held) <= buffer + 1
        held.remove(draw)
    last = {visit: int(np.flatnonzero(visit_N[read] == visit)[-1]) for visit in range(len(sizes))}
    first = {visit: int(np.flatnonzero(visit_N[read] == visit)[0]) for visit in range(len(sizes))}
    for place in range(len(read)):  # shards that are open at the same time
        assert sum(first[visit] <= place <= last[visit] for visit in opened) <= ways
