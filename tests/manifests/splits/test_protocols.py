"""Every protocol on random collections: isolation, a split or a reason, any order of rows; and the lower bound."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance.manifests import splits
from semblance.manifests.errors import UsageError
from semblance.manifests.records import TRAIN_VAL_TEST, Video
from semblance.manifests.splits import Assigned, DatasetTraits, SplitConfig
from semblance.manifests.splits.lower_bound import lower_bound
from semblance.manifests.splits.partition import partition

PEOPLE = DatasetTraits(basis="person")
SHARES = st.sampled_from([(0.8, 0.1, 0.1), (0.7, 0.15, 0.15), (0.5, 0.25, 0.25), (0.6, 0.4, 0.0)])


def real(name: str, target: str | None, **more: object) -> Video:
    return Video(
        video_id=f"x-{name}",
        path=f"{name}.mp4",
        dataset="x",
        label=0,
        method="pristine",
        family_id=f"x-{name}",
        target_id=target,
        recording_id=f"r-{name}",
        **more,  # type: ignore[arg-type]
    )


def fake(original: Video, donor: str | None, number: int, method: str | None = "swap", **more: object) -> Video:
    name = f"{original.video_id[2:]}-{number}"
    return Video(
        video_id=f"x-{name}",
        path=f"{name}.mp4",
        dataset="x",
        label=1,
        method=method,
        family_id=original.family_id,
        target_id=original.target_id,
        donor_id=donor,
        recording_id=original.recording_id,
        **more,  # type: ignore[arg-type]
    )


def assign(videos: Sequence[Video], traits: DatasetTraits | None = None, seed: int = 0, **config: object) -> Assigned:
    return splits.assign(splits.plan_frame(videos), SplitConfig(**config), seed, traits)  # type: ignore[arg-type]


@st.composite
def collections(draw: st.DrawFn) -> list[Video]:
    """Families of known and unknown people, fakes with known and unknown donors, some missing or unlabelled."""
    people = [None, *(f"p{n}" for n in range(draw(st.integers(1, 8))))]
    methods = [None, "swap", "talk", "mouth"]
    parts = [None, "train", "val", "test"]
    dates = [None, "2019-01-01", "2020-05-06", "2020-05-07T10:00:00"]
    videos: list[Video] = []
    for n in range(draw(st.integers(1, 12))):
        split = draw(st.sampled_from(parts))
        origin = real(
            f"{n:02d}", draw(st.sampled_from(people)), split_official=split, date=draw(st.sampled_from(dates))
        )
        videos.append(origin)
        for m in range(draw(st.integers(0, 4))):
            fault = draw(st.sampled_from([None, None, None, "missing"]))
            split = draw(st.sampled_from(parts))
            donor, method = draw(st.sampled_from(people)), draw(st.sampled_from(methods))
            videos.append(fake(origin, donor, m, method, split_official=split, fault=fault))
        if draw(st.booleans()):
            videos.append(
                Video(video_id=f"x-{n:02d}-odd", path=f"{n}o", dataset="x", family_id=f"x-{n:02d}", fault="unlabelled")
            )
    return videos


def splits_of(rows: Sequence[dict[str, object]], column: str, *ids: str) -> dict[object, set[object]]:
    """Id -> the splits in which it appears, counted independently."""
    found: dict[object, set[object]] = {}
    for row in rows:
        for name in ids:
            if row[name] and row[column] in TRAIN_VAL_TEST:
                found.setdefault(row[name], set()).add(row[column])
    return found


@settings(max_examples=30)
@given(collections(), SHARES, st.integers(0, 3), st.randoms(use_true_random=False))
def test_the_laws_of_isolation(
    videos: list[Video], shares: tuple[float, float, float], seed: int, rng: random.Random
) -> None:
    done = assign(videos, PEOPLE, seed, fractions=shares)
    rows = done.table.to_dicts()
    for column in ("split_family", "split_identity", "split_method", "split_temporal"):
        assert all(len(parts) == 1 for parts in splits_of(rows, column, "family_id").values()), column
    assert all(len(parts) == 1 for parts in splits_of(rows, "split_identity", "target_id", "donor_id").values())
    for row in rows:
        assert row["split"] in (*TRAIN_VAL_TEST, "unassigned")
        assert (row["split"] == "unassigned") == (row["split_note"] is not None)
        assert row[f"split_{done.protocol}"] == (None if row["split"] == "unassigned" else row["split"])
    shuffled = assign(rng.sample(videos, len(videos)), PEOPLE, seed, fractions=shares)
    assert shuffled.table.sort("video_id").equals(done.table.sort("video_id"))
    assert shuffled.facts == done.facts


SHARES_OF_ANY_SIZE = st.tuples(*(st.integers(0, 20),) * 3).filter(any)


@st.composite
def graphs(draw: st.DrawFn) -> list[Video]:
    """Any families, which may show any people as target or donor, and may be missing on disk."""
    people = [None, *(f"p{n}" for n in range(draw(st.integers(1, 9))))]
    links = draw(st.lists(st.tuples(*(st.sampled_from(people),) * 2), min_size=1, max_size=40))
    families = draw(st.integers(1, 14))
    return [
        Video(
            video_id=f"x-{n:02d}",
            path=f"{n}.mp4",
            dataset="x",
            label=0 if donor is None and n % 3 else 1,
            method=draw(st.sampled_from([None, "swap", "talk"])),
            family_id=f"f-{draw(st.integers(1, families))}",
            target_id=target,
            donor_id=donor,
            fault=draw(st.sampled_from([None, None, None, "missing"])),
        )
        for n, (target, donor) in enumerate(links)
    ]


@settings(max_examples=100)
@given(graphs(), SHARES_OF_ANY_SIZE, st.integers(0, 9), st.randoms(use_true_random=False))
def test_any_graph_and_any_fractions(
    videos: list[Video], parts: tuple[int, int, int], seed: int, rng: random.Random
) -> None:
    """Isolation, and a split or a reason for every video; the order of the input does not matter."""
    shares = tuple(float(Fraction(part, sum(parts))) for part in parts)
    done = assign(videos, PEOPLE, seed, fractions=shares)
    rows = done.table.to_dicts()
    assert sorted(row["video_id"] for row in rows) == sorted(video.video_id for video in videos)
    allowed = {split for split, share in zip(TRAIN_VAL_TEST, shares, strict=True) if share}
    for column in ("split_family", "split_identity", "split_method"):
        assert {row[column] for row in rows} <= allowed | {None}
        assert all(len(parts) == 1 for parts in splits_of(rows, column, "family_id").values()), column
    assert all(len(parts) == 1 for parts in splits_of(rows, "split_identity", "target_id", "donor_id").values())
    people = any(row["target_id"] or row["donor_id"] for row in rows)
    for row in rows:
        assert (row["split"] in TRAIN_VAL_TEST) == (row["split_note"] is None)
        assert row["split"] in (*allowed, "unassigned")
        # Under identity only a fake that shows people of two splits may be unassigned.
        if people and row["split"] == "unassigned":
            assert row["donor_id"]
            assert "straddles" in row["split_note"]
    lost = sum(row["split"] == "unassigned" and row["fault"] is None for row in rows)
    if people and done.protocol == "identity":  # auto skips it if a split would have only one label
        sentences = next(fact for fact in done.facts if fact.startswith("identity split by person"))
        assert f"; {lost} of " in sentences
        assert int(sentences.rsplit(" ", 1)[1].rstrip(")")) <= lost
    again = assign(rng.sample(videos, len(videos)), PEOPLE, seed, fractions=shares)
    assert again.table.sort("video_id").equals(done.table.sort("video_id"))
    assert (again.facts, again.protocol) == (done.facts, done.protocol)


@settings(max_examples=30)
@given(collections())
def test_the_published_test_set_is_never_touched(videos: list[Video]) -> None:
    published = {video.video_id: video.split_official for video in videos if video.label is not None}
    traits = DatasetTraits(basis="person", val_from_train=True)
    rows = assign(videos, traits).table.to_dicts()
    has_val = "val" in published.values()
    for row in rows:
        split = published.get(row["video_id"])
        if split == "train" and not has_val:
            assert row["split_official"] in ("train", "val")
        else:
            assert row["split_official"] == split
    if "test" not in published.values():
        return
    for against, ids in (("family", ("family_id",)), ("person", ("target_id", "donor_id"))):
        tested = {row[name] for row in rows if row["split_official"] == "test" for name in ids if row[name]}
        if not tested:
            continue
        for row in assign(videos, traits, protocol="official_clean", against=against).table.to_dicts():
            shared = {row[name] for name in ids} & tested
            if row["split_official"] == "test":
                assert row["split"] == "test"
            elif row["split_official"] in ("train", "val"):
                assert row["split"] == ("unassigned" if shared else row["split_official"])
                assert all(name in row["split_note"] for name in shared)


@settings(max_examples=60)
@given(collections(), st.integers(0, 5))
def test_a_held_out_method_is_only_in_test(videos: list[Video], rotate: int) -> None:
    done = assign(videos, rotate=rotate).table
    named = sorted({video.method for video in videos if video.label == 1 and video.method})
    assert splits.methods_of(done) == named
    if len(named) < 2:
        assert done["split_method"].null_count() == done.height
        return
    held = named[rotate % len(named)]
    for row in done.to_dicts():
        if row["label"] == 1:
            assert row["split_method"] in ((None, "test") if row["method"] == held else (None, "train", "val"))
        elif row["label"] == 0:
            assert row["split_method"] == row["split_family"]


def test_methods_can_be_named() -> None:
    origins = [real(f"{n}", None) for n in range(20)]
    videos = [v for o in origins for v in (o, *(fake(o, None, k, m) for k, m in enumerate("abc")))]
    done = assign(videos, protocol="method", held_out=("a", "c"), fractions=(0.5, 0.2, 0.3))
    counts = Counter((row["split"], row["method"]) for row in done.table.to_dicts())
    assert counts["test", "b"] == counts["train", "a"] == counts["val", "c"] == 0
    assert (counts["test", "a"], counts["train", "b"], counts["unassigned", "b"]) == (6, 10, 6)
    assert any("held out for test: a, c; 34 fakes are unassigned" in fact for fact in done.facts)
    with pytest.raises(UsageError, match="'z'; named methods: a, b, c"):
        assign(videos, protocol="method", held_out=("z",))
    with pytest.raises(UsageError, match="is not available for these videos: no video has a date"):
        assign(videos, protocol="temporal")


def test_time_runs_from_train_to_test() -> None:
    origins = [real(f"{n:02d}", None, date=f"2020-{n % 12 + 1:02d}-01") for n in range(48)]
    videos = [v for o in origins for v in (o, fake(o, None, 0))]
    done = assign(videos, protocol="temporal", fractions=(0.5, 0.25, 0.25)).table
    months = {video.family_id: int((video.date or "2020-00")[5:7]) for video in origins}
    split = {row["video_id"]: row["split"] for row in done.to_dicts()}
    assert {months[v.family_id] for v in videos if split[v.video_id] == "train"} == set(range(1, 7))
    assert {months[v.family_id] for v in videos if split[v.video_id] == "val"} == {7, 8, 9}
    assert {months[v.family_id] for v in videos if split[v.video_id] == "test"} == {10, 11, 12}
    assert "only 46 of 96 videos have a date" in " ".join(
        assign([*videos[:46], *(v if v.label else real(v.video_id[2:], None) for v in videos[46:])]).facts
    )


def test_imbalance_is_reported() -> None:
    lonely = [real(f"r{n}", None, split_official="test") for n in range(10)]
    origins = [real(f"o{n}", None, split_official="train") for n in range(10)]
    fakes = [fake(o, None, k, split_official="train") for o in origins for k in range(2)]
    sentences = " ".join(assign([*lonely, *origins, *fakes], protocol="official").facts)
    assert "unbalanced under official: test has 10 reals and 0 fakes (100% real, 50% overall)" in sentences
    assert "train has" not in sentences


def test_a_split_that_becomes_too_small_is_reported() -> None:
    a, b = real("a", "p1", split_official="test"), real("b", "p1", split_official="train")
    done = assign([a, b, fake(b, "p2", 0, split_official="train")], PEOPLE, protocol="official_clean", against="person")
    assert any("removing shared person values leaves nothing of the published train" in fact for fact in done.facts)
    assert done.table["split"].to_list() == ["test", "unassigned", "unassigned"]
    many = [real(f"c{n:02d}", "p1" if n else "p3", split_official="train") for n in range(20)]
    videos = [a, *many, fake(many[0], "p4", 0, split_official="train")]
    done = assign(videos, PEOPLE, protocol="official_clean", against="person")
    assert any("leaves little of the published train: 1 reals and 1 fakes of 21" in fact for fact in done.facts)


GRAPHS = st.tuples(
    st.lists(st.integers(1, 12), min_size=3, max_size=7),
    st.lists(st.integers(0, 6), min_size=21, max_size=21),
    st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.34, 0.33, 0.33)]),
)


@settings(max_examples=30, derandomize=True)  # the search has no guarantee: the same graphs every time
@given(GRAPHS)
def test_the_search_finds_the_best_and_the_bound_is_below(
    graph: tuple[list[int], list[int], tuple[float, float, float]],
) -> None:
    """Against all 3^n limit."""
    weights, links, shares = graph
    pairs = itertools.combinations(range(len(weights)), 2)
    edges = {pair: fakes for pair, fakes in zip(pairs, links, strict=False) if fakes}
    total = sum(weights) + sum(edges.values())
    targets = [Fraction(str(share)) * total for share in shares[1:]]

    def rank(parts: Sequence[int]) -> tuple[Fraction, Fraction, int]:
        sizes = [sum(w for w, own in zip(weights, parts, strict=True) if own == split) for split in range(3)]
        lost = 0
        for (i, j), fakes in edges.items():
            if parts[i] == parts[j]:
                sizes[parts[i]] += fakes
            else:
                lost += fakes
        outside = sum(max(Fraction(0), w / 2 - s, s - 2 * w) for s, w in zip(sizes[1:], targets, strict=True))
        missing = max(Fraction(0), Fraction(str(shares[0])) / 2 * sum(sizes) - sizes[0])
        return Fraction(outside), missing, lost

    best = min(rank(parts) for parts in itertools.product(range(3), repeat=len(weights)))
    connected = {i for pair in edges for i in pair}
    with pytest.MonkeyPatch.context() as patch:
        for limit in (3**8, 0):  # exhaustive, then only the search
            patch.setattr("semblance.manifests.splits.partition._ASSIGNMENTS", limit)
            found = partition(weights, edges, targets, 0)
            assert rank(found.parts)[2] == found.lost
            if len(connected) < len(weights):  # nodes without edges are placed greedily
                continue
            if limit:
                assert rank(found.parts) == best
            else:
                assert best[:2] == rank(found.parts)[:2]
                assert best[2] <= found.lost <= 1.25 * best[2] + 1
    if best[0] == 0:
        fewest = min(rank(parts)[2] for parts in itertools.product(range(3), repeat=len(weights)) if not rank(parts)[0])
        assert lower_bound(weights, edges, targets, best[2]) <= fewest <= best[2]
        assert found.bound <= fewest


def test_the_bound_means_something() -> None:
    """Forty people, all swapped with each other: the search loses at most a third more than the proven bound."""
    rng = random.Random(0)
    edges = {pair: rng.randint(0, 6) for pair in itertools.combinations(range(40), 2)}
    edges = {pair: fakes for pair, fakes in edges.items() if fakes}
    total = 400 + sum(edges.values())
    found = partition([10] * 40, edges, [Fraction(total, 10)] * 2, 0)
    assert 0 < found.bound <= found.lost < found.bound * 4 / 3
    assert all(total / 20 <= size <= total / 5 for size in found.sizes[1:])


def test_groups_stay_intact_if_they_fit() -> None:
    """Thirty pairs of people: no fake is lost."""
    videos: list[Video] = []
    for n in range(30):
        a, b = real(f"{n}a", f"p{n}a"), real(f"{n}b", f"p{n}b")
        videos += [a, b, fake(a, f"p{n}b", 0), fake(b, f"p{n}a", 0)]
    done = assign(videos, PEOPLE)
    assert done.protocol == "identity"
    assert done.table["split_identity"].null_count() == 0
    assert dict(done.table.group_by("split").len().rows()) == {"train": 96, "val": 12, "test": 12}
    assert any("60 known people; 0 of 60 fakes join two splits" in fact for fact in done.facts)


def test_people_of_one_set_may_all_be_connected() -> None:
    """Twelve people, all swapped with each other: some fakes are lost, each with its reason."""
    origins = {n: [real(f"{n:02d}{k}", f"p{n:02d}") for k in range(3)] for n in range(12)}
    videos = [v for group in origins.values() for v in group]
    videos += [fake(origins[a][0], f"p{b:02d}", b) for a, b in itertools.permutations(range(12), 2)]
    done = assign(videos, PEOPLE)
    lost = done.table.filter(pl.col("split") == "unassigned")
    assert set(lost["label"]) == {1}
    assert all("straddles: p" in note for note in lost["split_note"])
    counts = dict(done.table.group_by("split").len().rows())
    assert all(168 / 20 <= counts[split] <= 168 / 5 for split in ("val", "test"))
    fact = next(fact for fact in done.facts if fact.startswith("identity split by person"))
    assert f"{lost.height} of 132 fakes" in fact
    assert 0 < int(fact.rsplit(" ", 1)[1].rstrip(")")) <= lost.height


def test_auto_skips_a_protocol_with_a_split_of_only_reals() -> None:
    """Two people connected by fakes fill train; unknown people fill val and test, which then have no fake."""
    known = [real(f"k{n}", f"p{n % 2}") for n in range(8)]
    fakes = [fake(origin, f"p{(n + 1) % 2}", 0) for n, origin in enumerate(known)]
    videos = [*known, *fakes, *(real(f"u{n}", None) for n in range(6))]
    done = assign(videos, PEOPLE)
    by_identity = done.table.filter(pl.col("split_identity").is_in(["val", "test"]))
    assert set(by_identity["label"]) == {0}
    assert done.protocol == "family"
    assert done.table["split"].to_list() == done.table["split_family"].to_list()
    assert any(fact.startswith("auto skips identity") for fact in done.facts)
    assert assign(videos, PEOPLE, protocol="identity").protocol == "identity"
    assert assign(known, PEOPLE).protocol == "identity"  # without any fake nothing is better
