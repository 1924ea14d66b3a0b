"""Conditions, groups, uncertainty, cost and pages of one evaluation of a very small run."""

from __future__ import annotations

import html.parser
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from sklearn import metrics as sk

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.evaluation import cost, energy, evaluate, fairness, predictions, robustness, selective
from semblance.training.evaluation.evaluate import Evaluation, Options
from semblance.training.evaluation.report import page, svg
from semblance.training.evaluation.report.extras import Extras
from semblance.training.evaluation.report.svg import Axis
from tests.training import untrained


@pytest.fixture(scope="module")
def result(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    run = untrained.make(tmp_path_factory.mktemp("runs") / "a|b <run>", [ffpp], gain=9)
    return evaluate.evaluate([str(ffpp)], [str(run)], Options(draws=40), say=lambda _: None)


def scored(result: Evaluation) -> pl.DataFrame:
    (model,) = result.predictors
    return predictions.of_videos(result.videos, result.predictions[model], result.predictors[model])


def test_the_same_build_changes_nothing_and_jpeg_does(
    result: Evaluation, ffpp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (same,) = robustness.builds(result, [f"again={ffpp}"], say=lambda _: None)
    assert (same.videos, same.pictures) == (18, result.selection.pictures.height)
    assert (same.change.value, same.change.low, same.change.high) == (0, 0, 0)
    assert same.before.value == pytest.approx(sk.roc_auc_score(*scored(result).select("label", "logit")))
    monkeypatch.setattr(robustness, "JPEG", (5,))
    monkeypatch.setattr(robustness, "SCALES", (0.1,))
    found = robustness.robustness(result, say=lambda _: None)
    assert [one.name for one in found] == ["JPEG 5", "resize 0.1"]
    assert all(one.before == same.before for one in found)
    assert any(one.change.value != 0 for one in found)


def test_a_condition_shares_samples(result: Evaluation, dfdc: Path) -> None:
    with pytest.raises(UsageError, match="of the form NAME=OUT"):
        robustness.builds(result, ["crf40"], say=lambda _: None)
    with pytest.raises(SemblanceError, match="shares no sample"):
        robustness.builds(result, [f"other={dfdc}"], say=lambda _: None)


def test_figures_by_group(result: Evaluation, tmp_path: Path) -> None:
    videos = scored(result)
    names = videos["family_id"].unique().sort()
    half = videos.select(
        "video_id", pl.when(pl.col("family_id") == names[0]).then(pl.lit("x")).otherwise(pl.lit("y")).alias("group")
    )
    half.head(17).write_csv(tmp_path / "groups.csv")
    (found,) = fairness.fairness(result, fairness.read(str(tmp_path / "groups.csv")))
    assert found.ungrouped == 1
    limit = next(iter(result.thresholds.values()))["video"]
    rates = {}
    for group in found.groups:
        rows = videos.join(half.head(17).filter(pl.col("group") == group.name), on="video_id")
        called = rows["logit"] >= limit
        tn, fp, fn, tp = sk.confusion_matrix(rows["label"], called, labels=[0, 1]).ravel()
        assert group.figures["fpr"].value == pytest.approx(fp / (fp + tn))
        assert group.figures["fnr"].value == pytest.approx(fn / (fn + tp))
        assert group.figures["base"].value == pytest.approx((fn + tp) / rows.height)
        assert group.figures["auc"].value == pytest.approx(sk.roc_auc_score(rows["label"], rows["logit"]))
        rates[group.name] = (tp / (fn + tp), (fp + tp) / rows.height)
    assert found.opportunity.value == pytest.approx(abs(rates["x"][0] - rates["y"][0]))
    assert found.parity.value == pytest.approx(abs(rates["x"][1] - rates["y"][1]))


def test_invalid_groups_are_reported_in_one_sentence(result: Evaluation, tmp_path: Path) -> None:
    file = tmp_path / "groups.csv"
    for text, match in (
        ("video_id,kind\na,b\n", "needs the columns group"),
        ("video_id,group\na,x\na,y\n", "into two groups"),
        ("", "cannot be read"),
    ):
        file.write_text(text)
        with pytest.raises(UsageError, match=match):
            fairness.read(str(file))
    file.write_text("video_id,group\nnobody,x\n")
    with pytest.raises(SemblanceError, match="None of the 18 evaluated videos"):
        fairness.fairness(result, fairness.read(str(file)))


def test_risk_and_cost_and_pages(result: Evaluation, tmp_path: Path) -> None:
    risks, table = selective.measure(result, passes=8)
    (one,) = risks.values()
    wrong = (scored(result)["logit"] >= next(iter(result.thresholds.values()))["video"]) != (
        scored(result)["label"] == 1
    )
    assert one.wrong == pytest.approx(wrong.mean())
    assert one.curve[-1] == (1.0, pytest.approx(one.wrong))
    assert np.all(np.diff([coverage for coverage, _ in one.curve]) > 0)
    assert (table["uncertainty"] > 0).all()
    measured = cost.measure(next(iter(result.runs.values())))
    assert measured.gflop > 0
    found = energy.find(torch.device("cpu"))
    assert (measured.energy_j is None) == isinstance(found, str)
    energy_cell = f"not measured: {found}" if isinstance(found, str) else f"({found[0].name}"
    extras = Extras(uncertainty=risks, costs=[measured])
    pages = {"evaluation.md": page.markdown(result, extras), "evaluation.html": page.html(result, extras)}
    evaluate.write(result, tmp_path, table, pages)
    assert {file.name for file in tmp_path.iterdir()} == {
        *("predictions.parquet", "uncertainty.parquet", "evaluation.md", "evaluation.html")
    }
    assert "a\\|b" in pages["evaluation.md"]
    assert energy_cell in pages["evaluation.md"]
    assert "<run>" not in pages["evaluation.html"]
    tags = Tags()
    tags.feed(pages["evaluation.html"])
    assert tags.names.count("svg") == 8  # three curves by video, three by frame, scores, risk
    assert all(url.startswith(("data:", "#")) for url in tags.urls)  # it is self-contained
    overall = [line for line in pages["evaluation.md"].splitlines() if line.startswith("| a\\|b <run> | mixed |")]
    auc = next(row for row in result.rows if row.level == "video" and row.method is None).figures["auc"].value
    assert f"{auc:.3f}" in overall[0]


def zone(powercap: Path, name: str, microjoules: int, most: int) -> Path:
    """A CPU package as Linux presents it, with a sub-zone, which is not a package."""
    for folder, title in ((powercap / name, f"package-{name[-1]}"), (powercap / f"{name}:0", "core")):
        folder.mkdir(parents=True)
        for file, text in (("name", title), ("energy_uj", microjoules), ("max_energy_range_uj", most)):
            (folder / file).write_text(f"{text}\n")
    return powercap / name / "energy_uj"


def test_joules_per_call_are_read_from_the_counters(tmp_path: Path) -> None:
    """Two packages with 2 J and 3 J per call; the counter of one wraps."""
    files = [zone(tmp_path, "intel-rapl:0", 0, 10**9), zone(tmp_path, "intel-rapl:1", 999_000_000, 10**9)]
    counters = energy.find(torch.device("cpu"), tmp_path)
    assert not isinstance(counters, str)
    assert [counter.name for counter in counters] == ["package-0", "package-1"]

    def work() -> None:
        for file, joules in zip(files, (2, 3), strict=True):
            file.write_text(str((int(file.read_text()) + joules * 10**6) % 10**9))

    assert energy.measure(counters, work, least=0.0) == pytest.approx(5)
    assert energy.measure(counters, work, least=0.002) == pytest.approx(5)


def test_without_a_counter_there_is_a_reason(tmp_path: Path) -> None:
    assert energy.find(torch.device("cpu"), tmp_path) == "this machine has no RAPL counter"
    zone(tmp_path, "intel-rapl:0", 0, 10**9).write_text("")
    assert energy.find(torch.device("cpu"), tmp_path) == "the RAPL counter cannot be read"


def test_the_terminal_shows_one_line_per_run(result: Evaluation) -> None:
    lines = page.summary(result)
    assert len(lines) == 2
    mirrored = {**result.predictors, "a|b <run>+plain": next(iter(result.predictors.values()))}
    assert len(page.summary(replace(result, predictors=mirrored))) == 2


def test_a_drawing_is_well_formed_and_thinned() -> None:
    points = [(number / 5000, number / 5000) for number in range(5001)]
    x, y, legend = Axis(title="x"), Axis(title="y"), svg.keys(["<m>"])
    tree = ET.fromstring(svg.plot("<a & b>", x, y, {"<m>": points}, legend, diagonal=True, dots=True))
    assert 300 < sum(one.tag.endswith("circle") for one in tree.iter()) < 900
    assert tree.attrib["aria-label"].startswith("<a & b>: y over x")


def test_thinning_keeps_the_ends_and_what_stands_apart() -> None:
    """Also the few points of a logarithmic axis' left end, which thinning by number would lose."""
    far = [(0.0, 0.0), (100.0, 40.0), (200.0, 41.0)]
    assert svg.thinned([*far, *((200.0 + number / 1000, 41.0) for number in range(1, 900))])[:3] == far
    assert svg.thinned([]) == []
    assert svg.thinned([(1.0, 1.0), (1.0, 1.1)]) == [(1.0, 1.0), (1.0, 1.1)]
    assert svg.stepped([(0.0, 0.2), (0.5, 0.6)]) == [(0.0, 0.2), (0.5, 0.2), (0.5, 0.6)]


def test_a_logarithmic_axis_has_decades() -> None:
    axis = Axis(title="FPR", low=1e-3, log=True)
    assert axis.ticks() == pytest.approx([1e-3, 1e-2, 1e-1, 1])
    assert [axis.share(tick) for tick in axis.ticks()] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert axis.share(0.0) == 0


def test_many_models_are_told_apart() -> None:
    looks = {(key.colour, key.dashes) for key in svg.keys([f"run {number}" for number in range(28)])}
    assert len(looks) == 28


class Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.urls += [value or "" for name, value in attrs if name in ("src", "href")]
