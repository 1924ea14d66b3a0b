"""Gates: a promotion that a figure, the champion, an attack or the package itself speaks against is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.benchmark.record import Record as Benchmark
from semblance.training.benchmark.record_parts import Answer
from semblance.training.evaluation import evaluate
from semblance.training.evaluation import record as records
from semblance.training.evaluation.record import Record
from semblance.training.inference import predictor
from semblance.training.registry import card, gated, gates, package
from semblance.training.registry.gates import Gates, Judged
from semblance.training.registry.records import Semantic
from tests.training import untrained
from tests.training.registry import models


@pytest.fixture(scope="module")
def runs(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    return [untrained.make(folder / f"run{seed}", [ffpp], seed=seed, gain=9) for seed in range(2)]


@pytest.fixture(scope="module")
def record(ffpp: Path, runs: list[Path]) -> Record:
    """The evaluation of both runs, with what no test waits for added: conditions and attacks."""
    result = evaluate.evaluate([str(ffpp)], [str(run) for run in runs], evaluate.Options(draws=50), say=lambda _: None)
    figure = {"value": 0.7, "low": 0.6, "high": 0.8}
    values = records.make(result).model_dump(mode="json", by_alias=True)
    change = dict.fromkeys(("before", "after", "change", "balanced_before", "balanced_after"), figure)
    about = {"model": "run0", "kind": "JPEG", "name": "50", "videos": 9, "pictures": 36, "cut": []}
    attack = {"model": "run0", "attack": "pgd", "strength": 0.03, "level": "frame", "reals": 9, "fakes": 9, "right": 9}
    hit = dict.fromkeys(("success", "clean", "rounded"), figure) | {"robust": figure | {"value": 0.4}}
    return Record.model_validate(
        values
        | {"changes": [about | change | {"strength": q} for q in (50.0, 30.0)]}
        | {"attacks": [attack | hit | {"distance": None}]}
    )


def judged(wanted: dict[str, Any], one: Record | None, champion: Any = None, **more: Any) -> list[Judged]:
    return gates.judge(Gates.model_validate(wanted), "run0", one, champion, more.get("benchmark"))


def test_a_minimum_is_of_the_figure_that_it_names(record: Record) -> None:
    rows = [row for row in record.rows if row.model == "run0"]
    assert rows
    for row in rows:
        for name, figure in row.figures.items():
            part = {"metric": name, "level": row.level, "dataset": row.dataset, "method": row.method}
            part |= {"compression": row.compression}
            for value, bound in ((figure.value, "value"), (figure.low, "interval")):
                (found,) = judged({"minimum": [part | {"at_least": 0.0, "bound": bound}]}, record)
                assert found.value == value
                assert found.passed == (value is not None)
                if value is not None:
                    (found,) = judged(
                        {"minimum": [part | {"at_least": math.nextafter(value, 9), "bound": bound}]}, record
                    )
                    assert not found.passed


def test_all_of_the_data_is_the_only_dataset(record: Record) -> None:
    (row,) = (
        row
        for row in record.rows
        if (row.model, row.level, row.dataset, row.compression, row.method) == ("run0", "video", "ffpp", None, None)
    )
    (found,) = judged({"minimum": [{"metric": "auc", "at_least": 0}]}, record)
    assert found.value == row.figures["auc"].value
    assert str(found) == f"auc by video: {found.value:.4g}, must be at least 0"


def test_what_is_absent_fails(record: Record) -> None:
    absent = {
        "minimum": [{"metric": "auc", "at_least": 0, "dataset": "dfdc"}],
        "conditions": [{"kind": "resize", "at_least": 0}],
        "attacks": [{"attack": "cw", "at_least": 0}],
        "benchmark": ["latency < 2 s per video"],
    }
    for one in (record, None):
        found = judged(absent, one)
        assert [each.value for each in found] == [None] * 4
        assert not any(each.passed for each in found)
        assert "auc by video on dfdc: absent, must be at least 0" in str(found[0])


def test_conditions_and_attacks(record: Record) -> None:
    found = judged(
        {
            "conditions": [
                {"kind": "JPEG", "strength": 50, "at_least": 0.7},
                {"kind": "JPEG", "at_least": 0.71, "figure": "balanced_accuracy"},
            ],
            "attacks": [{"attack": "pgd", "strength": 0.03, "at_least": 0.4}, {"attack": "pgd", "at_least": 0.5}],
        },
        record,
    )
    assert [one.passed for one in found] == [True, False, True, False]
    assert str(found[3]) == "balanced accuracy by frame under pgd: 0.4, must be at least 0.5"


def test_the_champion_is_compared_on_the_same_data(record: Record) -> None:
    rows = {row.model: row.figures for row in record.rows if (row.level, row.method) == ("video", None)}
    for name in ("auc", "ece"):
        mine, theirs = rows["run0"][name].value, rows["run1"][name].value
        assert mine is not None
        assert theirs is not None
        loss = theirs - mine if name == "auc" else mine - theirs
        wanted = {"metric": name, "dataset": "ffpp"}
        for other, worse_by, passed in (("run0", 0.0, True), ("run1", max(loss, 0), True), ("run1", 0, loss <= 0)):
            part = wanted | {"worse_by": worse_by, "compression": "c40"}
            del part["compression"]
            (found,) = judged({"against_champion": [part]}, record, (other, record))
            assert found.passed == passed
    elsewhere = record.model_copy(update={"split": "val"})
    (found,) = judged({"against_champion": [{"metric": "auc"}]}, record, ("run1", elsewhere))
    assert not found.passed
    assert "the champion was evaluated on other data" in str(found)
    (found,) = judged({"against_champion": [{"metric": "auc"}]}, record, ("run1", None))
    assert "the champion has no such figure" in str(found)
    assert judged({"against_champion": [{"metric": "auc"}]}, record, None) == []


def test_a_benchmark_must_show_it() -> None:
    figure = {"value": 0.9, "low": 0.85, "high": 0.95}
    answers = [
        {"asked": "x > 1", "mark": 1, "row": row, "measured": figure, "verdict": verdict, "data": "d", "note": ""}
        for row, verdict in (("run0", "met"), ("run1", "not met"), (None, "not shown"))
    ]
    benchmark = Benchmark.model_construct(answers=[Answer.model_validate(one) for one in answers])
    found = judged({"benchmark": ["x > 1", "y > 1"]}, None, benchmark=benchmark)
    assert [one.passed for one in found] == [True, False, False]
    assert found[2].note == "the benchmark does not ask it of run0"


@given(st.one_of(st.none(), st.floats()), st.floats(allow_nan=False), st.booleans())
def test_a_limit_is_exact_and_nothing_passes_as_not_a_number(value: float | None, limit: float, least: bool) -> None:
    found = gates.within("it", value, **{"at_least" if least else "at_most": limit})
    expected = value is not None and not math.isnan(value) and (value >= limit if least else value <= limit)
    assert found.passed == expected


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"minimums": []}, "unknown key 'minimums'; known keys here are against_champion, attacks"),
        ({"minimum": [{"metric": "f1", "at_least": 1}]}, "unknown metric 'f1'; known ones are auc"),
        ({"minimum": [{"metric": "auc"}]}, "give one of at_least and at_most"),
        ({"minimum": [{"metric": "auc", "at_least": 0, "at_most": 1}]}, "give one of at_least and at_most"),
        ({"against_champion": [{"metric": "prevalence"}]}, "describes the data, so no model is better by it"),
        ({"against_champion": [{"metric": "auc", "worse_by": -1}]}, "greater than or equal to 0"),
        ([], "must be a mapping"),
    ],
)
def test_a_wrong_file_is_refused_in_a_sentence(wanted: Any, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "gates.yaml"
    file.write_text(yaml.safe_dump(wanted))
    with pytest.raises(UsageError, match=sentence):
        gates.read(file)
    with pytest.raises(UsageError, match=r"is no benchmark\.json of this version"):
        gates.read_benchmark(file)


def test_a_promotion_is_judged_on_the_package_and_kept(record: Record, runs: list[Path], tmp_path: Path) -> None:
    key, evaluation = models.keys(tmp_path / "keys"), tmp_path / "evaluation.json"
    evaluation.write_text(records.as_json(record))
    registry = models.opened(tmp_path / "store", key)
    first = models.add(registry, runs[0], key, "faces", evaluation=evaluation)
    said: list[str] = []
    wanted = Gates.model_validate(
        {
            "minimum": [{"metric": "auc", "at_least": 0}],
            "against_champion": [{"metric": "auc", "worse_by": 0.01}],
            "integration": {"latency_ms": 60_000},
        }
    )
    passed = gated.judge(registry, first, wanted, tmp_path / "cache", say=said.append)
    assert said == ["faces has no other champion, so nothing is compared with one"]
    assert [one.gate for one in passed][1:] == [
        "largest difference of a logit from the run's",
        "milliseconds for one crop",
    ]
    registry.set_alias(first, "champion")
    second = models.add(registry, runs[1], key, "faces", "1.1.0")
    with pytest.raises(SemblanceError) as caught:
        gated.judge(registry, second, wanted, tmp_path / "cache", say=said.append)
    sentence = str(caught.value)
    assert sentence.startswith("faces 1.1.0 is not promoted, for it fails 2 of 4 gates: auc by video: absent, must be")
    assert "auc by video, worse than the champion's by: absent, must be at most 0.01" in sentence
    assert "\n" not in sentence
    kept = yaml.safe_load(registry.find("faces", "1.1.0").tags["gates"])
    assert [one["passed"] for one in kept] == [False, False, True, True]
    other = replace(predictor.load(runs[0]), name="other")
    with pytest.raises(SemblanceError, match="evaluates run0, run1, not the checkpoints of other"):
        package.evaluated(evaluation, other)
    other = replace(predictor.load(runs[1]), name="run0")
    with pytest.raises(SemblanceError, match="not the checkpoints of run0; run `training evaluate` on this run"):
        package.evaluated(evaluation, other)


def test_the_card_says_what_is_known_and_no_more(record: Record, runs: list[Path], tmp_path: Path) -> None:
    evaluation = tmp_path / "evaluation.json"
    evaluation.write_text(records.as_json(record))
    one = predictor.load(runs[0])
    bare = package.write(one, tmp_path / "bare", model="faces", version=Semantic(1, 0, 0), graphs=False)
    text = (tmp_path / "bare" / card.FILE).read_text()
    assert text.startswith("# faces 1.0.0\n")
    assert text.count(card.NOT_EVALUATED) + text.count(card.NOT_EVALUATED.capitalize()) == 4
    assert "AUC" not in text
    told = package.write(
        one, tmp_path / "told", model="faces", version=Semantic(1, 0, 0), evaluation=evaluation, graphs=False
    )
    text = (tmp_path / "told" / card.FILE).read_text()
    assert (bare.evaluation, told.evaluation) == (False, True)
    assert (tmp_path / "told" / "evaluation.json").read_bytes() == evaluation.read_bytes()
    for row in record.rows:
        figure = row.figures["auc"]
        if row.model == "run0" and row.level == "video" and figure.value is not None:
            assert f"{figure.value:.3f}" in text
    assert "| JPEG" in text or "| 50 |" in text
    assert "| pgd | 0.03 | frame |" in text
    assert str(one.datasets[0]["fingerprint"])[:12] in text
    assert "Groups of people: not evaluated" in text


def test_hostile_names_stay_text_in_a_card(runs: list[Path], tmp_path: Path) -> None:
    made = package.write(
        predictor.load(runs[0]), tmp_path / "p", model="faces", version=Semantic(1, 0, 0), graphs=False
    )
    nasty = "x | <script>`a`\n# head [b](c)"
    text = card.make(made.model_copy(update={"run": nasty, "model": nasty}), None)
    assert "<script>" not in text
    assert "\n# head" not in text
    assert text.splitlines()[0] == "# x \\| &lt;script>'a' # head \\[b](c) 1.0.0"
