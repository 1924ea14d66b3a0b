"""Nothing selects, stops or schedules a run that it is trained on, over all its builds and protocols together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semblance.manifests import scan
from semblance.manifests.errors import SemblanceError
from semblance.training.guard import seen
from tests.training.guard import collections
from tests.training.guard.collections import isolated, make


@pytest.fixture(scope="module")
def outs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One collection in four builds, and another one."""
    folder = tmp_path_factory.mktemp("outs")
    given = collections.videos()
    return {
        "identity": make(folder / "identity", given),
        "family": make(folder / "family", given, "split.protocol=family"),
        "seed": make(folder / "seed", given, "split.protocol=family", "seed=1"),
        "files": make(folder / "files", collections.renamed(given, "folder"), "split.protocol=family", "seed=3"),
        "wide": make(folder / "wide", given, "crop.margin=2.2", "crop.size=160"),
        "foreign": make(folder / "foreign", collections.videos(dataset="dfdc", seed=5), scene="elsewhere"),
    }


def test_one_build_and_two_collections_are_clean(outs: dict[str, Path]) -> None:
    for names in (["identity"], ["identity", "foreign"]):
        data = isolated([outs[name] for name in names])
        assert data.warnings == ()
        assert data.seen is not None
        assert data.seen.notes == ()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("identity", "family"), r"(videos|families|people) of val of .* too \(\d+ more findings\)"),
        (("family", "seed"), r"videos of val of .*"),
        (("identity", "files"), r"videos of val of .*files .* are copies of ones in train of .*identity"),
    ],
)
def test_what_one_build_trains_on_no_other_selects_on(
    outs: dict[str, Path], names: tuple[str, str], words: str
) -> None:
    given = [outs[name] for name in names]
    with pytest.raises(SemblanceError, match=words + r".*--allow-leaks"):
        isolated(given)
    data = isolated(given, allow_leaks=True)
    assert data.seen is not None
    assert all(note.startswith("allowed with --allow-leaks: ") for note in data.seen.notes)
    assert set(data.seen.notes) <= set(data.warnings)


def test_people_of_an_identity_split_may_not_come_back_through_another_build(tmp_path: Path) -> None:
    """No family in both builds: only the people are shared, whom one of the two protocols promises to separate."""
    given = collections.videos()
    halves = [[one for one in given if int(one.family_id[-2:]) % 2 == part] for part in (0, 1)]
    one = make(tmp_path / "one", halves[0])
    other = make(tmp_path / "other", halves[1], "split.protocol=family", "seed=4")
    both = make(tmp_path / "both", halves[0], "split.protocol=family")
    with pytest.raises(SemblanceError, match=r"people of val of .* in train of .*--allow-leaks"):
        isolated([one, other])
    named = isolated([both, other])  # nobody promised to separate people
    assert any("not promised by the split:" in line and "people" in line for line in named.warnings)


def test_what_a_split_does_not_promise_is_named(outs: dict[str, Path]) -> None:
    data = isolated([outs["identity"]], column="split_family")
    assert [line.split(": ")[0] for line in data.warnings] == ["not promised by the split"] * len(data.warnings)
    assert any("people of val of" in line and "in train of itself too" in line for line in data.warnings)
    (record,) = data.datasets
    assert record["promises"] == ["family"]


def test_a_published_split_that_leaks_is_refused(tmp_path: Path) -> None:
    """``official`` promises nothing by itself, but a run that is selected on people it learns is told so."""
    given = collections.videos()
    published = [replace(one, split_official=part) for one, part in zip(given, _parts(), strict=False)]
    out = make(tmp_path / "out", published, "split.protocol=official")
    with pytest.raises(SemblanceError, match=r"people of val of .* in train of itself too"):
        isolated([out])


def _parts() -> Iterator[str]:
    while True:
        for part in ("train", "train", "val", "test"):
            yield from (part,) * 3


def test_builds_that_are_only_reported_on_are_warned_of(outs: dict[str, Path]) -> None:
    data = isolated([outs["family"]], others=[outs["seed"]])
    assert any(line.startswith("figures of celebdf-2 are too good: ") for line in data.warnings)
    assert data.seen is not None
    kept = data.seen.ids.filter(role="selected")
    alone = isolated([outs["family"]]).seen
    assert alone is not None
    assert kept.equals(alone.ids.filter(role="selected"))  # what is reported selects nothing


def test_builds_cut_otherwise_are_refused(outs: dict[str, Path]) -> None:
    with pytest.raises(
        SemblanceError, match=r"wide are cut otherwise .* crop.margin 2.2 instead of 1.3, crop.size 160 .*--allow-other"
    ):
        isolated([outs["foreign"], outs["wide"]])
    with pytest.raises(SemblanceError, match="--allow-other-crops"):
        isolated([outs["foreign"]], others=[outs["wide"]])
    data = isolated([outs["foreign"], outs["wide"]], allow_other_crops=True)
    assert any("allowed with --allow-other-crops: Crops of" in line for line in data.warnings)


def test_faces_that_authors_cut_are_cut_otherwise(outs: dict[str, Path], tmp_path: Path) -> None:
    """WildDeepfake with videos: whatever the recipes say, its faces tell it apart."""
    given = [replace(one, member=one.path) for one in collections.videos(dataset="wilddeepfake")]
    out = make(tmp_path / "out", given, scene="web")
    with pytest.raises(SemblanceError, match=r"Faces of .*out were cut by the dataset's authors.*--allow-other-crops"):
        isolated([outs["foreign"], out])
    assert isolated([out]).datasets[0]["by_authors"]


def test_weights_bring_along_what_they_were_trained_on(outs: dict[str, Path]) -> None:
    before = isolated([outs["family"]]).seen
    with pytest.raises(SemblanceError, match="trained on by the run that the weights are from"):
        isolated([outs["seed"]], inherited=before)
    data = isolated([outs["foreign"]], inherited=before)
    assert before is not None
    assert data.seen is not None
    assert before.ids.join(data.seen.ids, on=list(before.ids.columns), how="anti", nulls_equal=True).is_empty()


def test_weights_of_a_run_on_the_same_build_are_no_leak(tmp_path: Path) -> None:
    """Copies within the build, which its audit names, are named again."""
    out = make(tmp_path / "out", frames=lambda row, _: collections.outcome(row | {"path": row["method"]}))
    first = isolated([out])
    again = isolated([out], inherited=first.seen)
    assert again.warnings
    assert all("not promised by the split: " in line and "by frames or file" in line for line in again.warnings)


@given(seeds=st.tuples(*[st.integers(0, 99)] * 2), protocols=st.tuples(*[st.sampled_from(["identity", "family"])] * 2))
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_run_is_selected_on_what_it_trains_on(
    tmp_path_factory: pytest.TempPathFactory, seeds: tuple[int, int], protocols: tuple[str, str]
) -> None:
    """Two builds of parts of one collection, by any two protocols and seeds, against sets made by hand."""
    given = collections.videos(16)
    parts = [[one for one in given if int(one.family_id[-2:]) % 4 != part] for part in (1, 2)]
    folder = tmp_path_factory.mktemp("law")
    made = [
        make(folder / f"{place}", part, f"split.protocol={protocol}", f"seed={seed}")
        for place, (part, protocol, seed) in enumerate(zip(parts, protocols, seeds, strict=True))
    ]
    rows = {(place, side): _rows(out, side) for place, out in enumerate(made) for side in ("train", "val")}
    shared = {
        kind
        for place in (0, 1)
        for other in (0, 1)
        for kind in ("video", "family", *(("person",) if "identity" in (protocols[place], protocols[other]) else ()))
        if (place != other or kind in ("video", "family") or protocols[place] == "identity")
        and collections.ids(rows[place, "train"], kind) & collections.ids(rows[other, "val"], kind)
    }
    if shared:
        with pytest.raises(SemblanceError, match="--allow-leaks"):
            isolated(made)
    else:
        isolated(made)


def _rows(out: Path, side: str) -> list[dict[str, object]]:
    return scan(str(out), "plan").filter(pl.col("split") == side, pl.col("fault").is_null()).collect().to_dicts()


def test_the_record_names_every_picture(outs: dict[str, Path]) -> None:
    data = isolated([outs["identity"]])
    assert data.seen is not None
    counted = data.seen.ids.group_by("role", "kind").len().rows_by_key(["role", "kind"])
    for role, side in (("trained", "train"), ("selected", "val")):
        rows = _rows(outs["identity"], side)
        assert counted[role, seen.SAMPLE][0] == (len(rows) * collections.FRAMES,)
        assert counted[role, "video"][0] == (len(rows),)
        for kind in ("family", "person", "recording"):
            assert counted[role, kind][0] == (len(collections.ids(rows, kind)),)
