"""The page of an evaluation in Chromium, its tables as files, and its record."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from jsonschema import Draft202012Validator

from semblance.manifests.errors import UsageError
from semblance.quality.statistics.bootstrap import Estimate
from semblance.training.evaluation import evaluate, matrices, record, reference
from semblance.training.evaluation.evaluate import Evaluation, Options
from semblance.training.evaluation.report import about, comparisons, curves, figures, files, page
from semblance.training.evaluation.report import matrices as matrix_tables
from semblance.training.evaluation.report.blocks import Cell, Fold, Table, marked
from semblance.training.evaluation.report.extras import Extras
from semblance.training.evaluation.results import Row
from semblance.training.metrics.classification import Judged
from semblance.training.metrics.registry import METRICS
from tests.conftest import REPOSITORY
from tests.quality.browser import Seen, opened
from tests.training import untrained

DATE = "2026-11-30 09:00 UTC"
MARKUP = '<img src=x onerror="document.title=1">&'
PUBLISHED = json.loads((REPOSITORY / "docs/evaluation.schema.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def result(ffpp: Path, dfdc: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Two repetitions of one recipe and a third run with a name made to break pages, on two datasets."""
    folder = tmp_path_factory.mktemp("runs")
    runs = [
        untrained.make(folder / "net-seed0", [ffpp], "seed=0", seed=0, gain=9),
        untrained.make(folder / "net-seed1", [ffpp], "seed=1", seed=1, gain=9),
        untrained.make(folder / "a`b_*c* & <run>|~^\\x", [dfdc], "epochs=7", seed=2, gain=9),
    ]
    options = Options(draws=30, date=DATE)
    return evaluate.evaluate([str(ffpp), str(dfdc)], [str(run) for run in runs], options, say=lambda _: None)


@pytest.fixture(scope="module")
def written(result: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "evaluation.html"
    file.write_text(page.html(result), "utf-8")
    return file


def sound(seen: Seen, file: Path) -> None:
    assert seen.complaints == []
    assert [url for url in seen.requests if not url.startswith("data:")] == [file.resolve().as_uri()]
    assert seen.broken_pictures() == 0
    assert seen.faults() == []


CUT = """() => [...document.querySelectorAll("table, svg, img, p, li, h2, h3, pre")]
  .filter((one) => one.offsetParent !== null || one.tagName === "svg")
  .filter((one) => !one.closest(".wide") && !one.closest(".legend"))
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 80))"""
CUT_IN_FRAMES = """() => [...document.querySelectorAll(".wide")]
  .filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.getAttribute("aria-label"))"""


def test_the_page_holds_in_a_browser(written: Path) -> None:
    for width, dark in ((1300, False), (390, True)):
        with opened(written, width=width, dark=dark) as seen:
            seen.page.evaluate("() => document.querySelectorAll('details').forEach((one) => (one.open = true))")
            sound(seen, written)
            assert seen.page.evaluate(CUT) == []
            assert seen.page.locator("img").count() >= 24
            if not dark:
                assert seen.page.evaluate(CUT_IN_FRAMES) == []
                assert seen.page.title() == "Evaluation of net-seed0, net-seed1, a`b_*c* & <run>|~^\\x on ffpp, dfdc"
                seen.page.set_viewport_size({"width": 703, "height": 1000})  # A4 less its margins
                seen.page.emulate_media(media="print")
                assert seen.page.evaluate(CUT_IN_FRAMES) == []
                assert seen.page.evaluate(CUT) == []


def test_every_section_has_something_and_no_mark_shows(result: Evaluation) -> None:
    sections = page.sections(result)
    assert [one.title for one in sections] == [
        *("Overall", "Curves", "Scores of reals and fakes", "Seeds", "Differences between runs", "Matrices"),
        *("Methods left out", "Thresholds elsewhere", "Each dataset", "Each method and compression", "Worst videos"),
        *("What was evaluated", "How to read this"),
    ]
    tables = []
    for section in sections:
        assert section.blocks
        for block in section.blocks:
            inside = block.blocks if isinstance(block, Fold) else [block]
            tables += [one for one in inside if isinstance(one, Table)]
    for one in tables:
        assert one.lines
        assert {len(line) for line in one.lines} == {len(one.heading)}
    assert len({one.label for one in tables}) == len(tables), "a screen reader tells tables apart by their label"
    text = page.html(result).replace("a`b_*c* &amp; &lt;run&gt;|~^\\x", "")
    assert "\\" not in text.partition("</style>")[2], "no control character shows as its number"
    assert "`" not in text.partition("<script>")[0].partition("</style>")[2]
    assert "**" not in text.partition("</style>")[2]


def test_one_run_on_one_dataset_has_no_empty_section(dfdc: Path, tmp_path: Path) -> None:
    run = untrained.make(tmp_path / "run", [dfdc], gain=9)
    result = evaluate.evaluate([str(dfdc)], [str(run)], Options(draws=0, date=DATE), say=lambda _: None)
    assert [one.title for one in page.sections(result, Extras(pictures=False))] == [
        *("Overall", "Curves", "Scores of reals and fakes", "Thresholds elsewhere", "What was evaluated"),
        "How to read this",
    ]
    assert "data:image" not in page.html(result, Extras(pictures=False))
    assert list(matrix_tables.files(result)) == ["tables/figures.csv"]


def test_equal_evaluations_have_equal_bytes(dfdc: Path, tmp_path: Path) -> None:
    run = untrained.make(tmp_path / "run", [dfdc], gain=9)
    first, second = (
        files.written(
            evaluate.evaluate([str(dfdc)], [str(run)], Options(draws=9, date=DATE), say=lambda _: None), Extras()
        )
        for _ in range(2)
    )
    assert first == second
    assert DATE in first["evaluation.html"]


def test_the_date_may_be_fixed_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert evaluate.now() == "1970-01-01 00:00 UTC"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH is 'yesterday'"):
        evaluate.now()


def test_the_head_says_what_was_evaluated(result: Evaluation, ffpp: Path) -> None:
    head = f"{about.subtitle(result)} {about.headline(result)}"
    assert DATE in head
    assert "split `test` of the builds' own protocol (family)" in head
    tables = {one.label: one for one in about.sources(result).blocks if isinstance(one, Table)}
    runs = {str(line[0]): line for line in tables["Runs"].lines}
    assert runs["net-seed1"][4:6] == ["1", "1 of 6"]
    assert "ffpp ffpp-6-4 split" in str(runs["net-seed1"][6])
    predictor = result.runs["net-seed1"]
    assert runs["net-seed1"][7] == predictor.members[0].key[:12]
    assert any(str(ffpp) in str(line[4]) for line in tables["Thresholds of val"].lines)
    changed = next(one for one in about.sources(result).blocks if isinstance(one, Fold)).blocks[0]
    assert isinstance(changed, Table)
    assert ["net-seed0", "epochs", "50 -> 6"] in [list(line) for line in changed.lines]


def test_marks_in_text_are_set_and_everything_else_is_escaped() -> None:
    assert marked("**a** *b c* `d<e`") == "<strong>a</strong> <em>b c</em> <code>d&lt;e</code>"
    assert marked("2 * 3 * 4 < 5") == "2 * 3 * 4 &lt; 5"
    assert marked(MARKUP) == "&lt;img src=x onerror=&#34;document.title=1&#34;&gt;&amp;"


def row(model: str, value: float | None, *part: str | None, mark: str = "seen", level: str = "video") -> Row:
    figure = Estimate(value=value)
    return Row(
        model=model,
        level=level,  # type: ignore[arg-type]
        dataset=part[0],
        compression=part[1],
        method=part[2],
        mark=mark,  # type: ignore[arg-type]
        reals=5,
        fakes=5,
        scored=10,
        listed=10,
        unlabelled=0,
        threshold=0.0,
        figures=dict.fromkeys(METRICS, figure),
        filled={},
    )


def test_a_matrix_averages_what_it_shows() -> None:
    rows = [
        row(model, value, "a", "c23", method)
        for model, values in {"one": (0.9, 0.6), "two": (0.8, None)}.items()
        for method, value in zip(("x", "y"), values, strict=True)
    ]
    rows += [row(model, 0.7, "a", None, None, level=level) for model in ("one", "two") for level in ("video", "frame")]
    found = {one.name: one for one in matrices.find(rows, ())}
    methods = found["methods-a-c23"]
    assert [line.average for line in methods.lines] == [pytest.approx(0.75), None]
    assert methods.best() == [0.9, None, None]
    text = matrix_tables.latex(methods, "test")
    assert r"one & \textbf{0.900} & 0.600 & 0.750 \\" in text
    assert r"two & 0.800 & -- & -- \\" in text


def test_methods_left_out_are_judged_against_those_trained_on() -> None:
    rows = [
        *(row("one", 0.9, "a", "c23", "x"), row("one", 0.8, "a", "c23", "y")),
        *(
            row("one", 0.6, "a", "c23", "z", mark="unseen method"),
            row("one", 0.5, "a", "c40", "z", mark="unseen method"),
        ),
        row("two", 0.6, "a", "c23", "z", mark="unseen dataset"),
    ]
    (found,) = matrices.left_out(rows)
    assert (found.model, found.method, found.compression, found.trained) == ("one", "z", "c23", ("x", "y"))
    assert (found.inside, found.gap) == (pytest.approx(0.85), pytest.approx(0.25))


def test_tables_are_files_that_other_programs_read(result: Evaluation) -> None:
    files = matrix_tables.files(result)
    assert {name for name in files if name.endswith(".tex")} == {
        f"tables/{name}.tex"
        for name in ("datasets-video", "datasets-frame", "compressions-ffpp", "methods-ffpp-c23", "methods-ffpp-c40")
    }
    table = pl.read_csv(io.StringIO(files["tables/figures.csv"]), infer_schema_length=None)
    assert table.height == len(result.rows) * len(METRICS)
    first = table.filter(metric="auc").row(0, named=True)
    assert first["value"] == pytest.approx(result.rows[0].figures["auc"].value)
    lines = list(csv.DictReader(io.StringIO(files["tables/methods-ffpp-c23.csv"])))
    assert [line["model"] for line in lines] == ["net (2 seeds)", "a`b_*c* & <run>|~^\\x"]
    values = [
        one.figures["auc"].value
        for one in result.rows
        if (one.level, one.compression, one.method) == ("video", "c23", "FaceSwap") and one.model.startswith("net")
    ]
    assert float(lines[0]["FaceSwap"]) == pytest.approx(np.mean([value for value in values if value is not None]))
    assert float(lines[0]["FaceSwap sd"]) == pytest.approx(np.std([value or 0 for value in values], ddof=1))
    text = files["tables/methods-ffpp-c23.tex"]
    assert r"a`b\_*c* \& <run>|\textasciitilde{}\textasciicircum{}\textbackslash{}x & " in text
    assert len({line.count(" & ") for line in text.splitlines() if line.endswith(r"\\")}) == 1
    assert re.search(r"net \(2 seeds\) & .*\$\\pm\$ 0\.\d{3}", text)


def test_what_a_figure_lacks_is_said(result: Evaluation) -> None:
    one = result.rows[0]
    assert figures.figure(one, METRICS["tpr_at_fpr_01"]).small == "needs 1,000 reals"
    assert (
        figures.figure(replace(one, figures=dict.fromkeys(METRICS, Estimate(value=None))), METRICS["auc"]).small == ""
    )
    assert [comparisons.probability(p) for p in (None, 0.0004, 0.2)] == ["-", "< 0.001", "0.200"]


def test_the_best_is_bold_by_the_direction_of_its_metric(result: Evaluation) -> None:
    table = next(one for one in figures.overall(result).blocks if isinstance(one, Table))
    rows = [one for one in result.rows if one.level == "video" and one.dataset is None]
    for name, choose in (("auc", max), ("eer", min)):
        place = table.heading.index(f"#{METRICS[name].title}")
        best = choose(one.figures[name].value or 0.0 for one in rows)
        bold = [cell.text for line in table.lines if isinstance(cell := line[place], Cell) and cell.best]
        assert set(bold) == {f"{best:.3f}"}


def test_the_terminal_shows_repetitions_as_one_line(result: Evaluation) -> None:
    lines = page.summary(result)
    assert [line[0] for line in lines[1:]] == ["net-seed0", "net-seed1", "a`b_*c* & <run>|~^\\x", "net (2 seeds)"]
    assert {len(line) for line in lines} == {len(lines[0])}
    values = [row.figures["auc"].value or 0.0 for row in about.whole(result)[:2]]
    assert lines[-1][1] == f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def test_the_published_format_is_the_one_that_is_written(result: Evaluation) -> None:
    """Run `training evaluation-schema > docs/evaluation.schema.json` and `... --markdown > docs/evaluation-json.md`."""
    Draft202012Validator.check_schema(PUBLISHED)
    assert reference.json_schema() == PUBLISHED
    assert (REPOSITORY / "docs/evaluation-json.md").read_text("utf-8") == reference.markdown()
    for one in [PUBLISHED, *PUBLISHED["$defs"].values()]:
        assert one["description"], "an object without a meaning"
        assert {*one["required"]} == {*one["properties"]}, "whatever is written is always there"
        assert all(field.get("description") for field in one["properties"].values())
    value = json.loads(record.as_json(record.make(result)))
    Draft202012Validator(PUBLISHED).validate(value)
    assert len(value["rows"]) == len(result.rows)
    for told, one in zip(value["rows"], result.rows, strict=True):
        assert (told["model"], told["level"], told["dataset"]) == (one.model, one.level, one.dataset)
        assert told["figures"].keys() == METRICS.keys()
        assert all(same(told["figures"][name], one.figures[name]) for name in METRICS)
    assert [one["name"] for one in value["metrics"]] == list(METRICS)
    assert value["seeds"][0]["runs"] == ["net-seed0", "net-seed1"]
    assert len(value["differences"]) == len(result.pairs) == 6  # two pairs: on all, ffpp and dfdc
    assert len(value["worst"]) == 3 * 2 * 6


def same(told: Mapping[str, Any], one: Estimate) -> bool:
    return (told["value"], told["low"], told["high"]) == (one.value, one.low, one.high)


def test_a_histogram_has_every_video_and_the_threshold_on_an_edge() -> None:
    """Also where all scores are equal, or on one side of the threshold."""
    for score_N, threshold in (([0.0] * 4, 0.0), ([0.0] * 4, 3.0), ([-2.0, -1, 1, 5], -7.0), ([1.0, 2, 3, 4], 9.0)):
        rows = Judged(label_N=np.array([0.0, 1, 0, 1]), score_N=np.array(score_N), probability_N=np.full(4, 0.5))
        drawing = curves._histogram("one", rows, threshold)
        assert "2 real and 2 fake videos" in drawing
        assert 'class="limit low"' in drawing
        assert not any(math.isnan(float(one)) for one in re.findall(r"x1=\"([^\"]+)\"", drawing))
