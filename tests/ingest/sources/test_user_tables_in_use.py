"""Tables of videos as people have them: every spelling of one table is the same plan, and no guess is silent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl
import pytest

from semblance.ingest.sources import source
from semblance.ingest.sources.base import Discovery, SourceConfig
from semblance.ingest.sources.folder_rows import BACK_SLASHES, BY_NAME, ORIGINALS_BY_NAME, WRITTEN_OUT
from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError
from tests.conftest import Run
from tests.ingest.trees import by_path

CLIPS = ("clips/anna.mp4", "clips/Bob Smith.mp4", "clips/anna_fake.mp4", "clips/bob_fake.MP4")
PLAIN = """path,label,method,original,split
clips/anna.mp4,real,,,train
clips/Bob Smith.mp4,real,,,test
clips/anna_fake.mp4,fake,swap,clips/anna.mp4,train
clips/bob_fake.MP4,fake,swap,clips/Bob Smith.mp4,val
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, path in enumerate(CLIPS):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(bytes(number + 1))
    return tmp_path


def plan(root: Path, content: str | bytes, name: str = "table.csv", at: str | None = None) -> Discovery:
    (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    files = storage.survey(str(root)).files
    return source("folder").discover(at or str(root), files, SourceConfig(table=name))


def bad_rows(found: Discovery) -> list[str]:
    return [finding.reason for finding in found.findings if finding.kind not in ("metadata", "other")]


def absolute(text: str, root: Path) -> str:
    return text.replace("clips/", f"{root}/clips/")


def indexed(text: str, name: str = "") -> str:
    header, *rows = text.strip().split("\n")
    return "\n".join([f"{name},{header}", *(f"{number},{row}" for number, row in enumerate(rows))])


SAME: dict[str, Callable[[str, Path], str | bytes]] = {
    "excel": lambda text, _: f"\ufeff{text}".replace("\n", "\r\n"),
    "excel with its separator": lambda text, _: "sep=;\r\n" + text.replace(",", ";"),
    "semicolons": lambda text, _: text.replace(",", ";"),
    "tabs": lambda text, _: text.replace(",", "\t"),
    "bars": lambda text, _: text.replace(",", "|"),
    "utf-16": lambda text, _: text.encode("utf-16"),
    "utf-16 of a spreadsheet": lambda text, _: b"\xfe\xff" + text.replace(",", "\t").encode("utf-16-be"),
    "absolute": absolute,
    "absolute on windows' separators": lambda text, root: absolute(text, root).replace("/", "\\"),
    "file URLs": lambda text, root: text.replace("clips/", f"file://{root}/clips/"),
    "dots": lambda text, _: text.replace("clips/", ".//clips/./"),
    "header in capitals": lambda text, _: text.replace("path,label,method", " PATH , Label,Method "),
    "index": lambda text, _: indexed(text),
    "index of a table written twice": lambda text, _: indexed(text, "Unnamed: 0"),
    "other labels": lambda text, _: text.replace("real", "REAL").replace(",fake", ",Fake"),
    "numbers": lambda text, _: text.replace(",real,", ",0,").replace(",fake,", ",1,"),
    "floats": lambda text, _: text.replace(",real,", ",0.0,").replace(",fake,", ",1.00,"),
    "spaces": lambda text, _: text.replace(",real,", ", real ,"),
    "other splits": lambda text, _: text.replace(",train", ",Training").replace(",val", ",dev"),
    "more other splits": lambda text, _: text.replace(",test", ",TESTING").replace(",val", ",validation"),
    "missing is nan": lambda text, _: text.replace("real,,,", "real,nan,NaN,"),
    "missing is None": lambda text, _: text.replace("real,,,", "real,None,NONE,"),
    "missing is NA": lambda text, _: text.replace("real,,,", "real,NA,N/A,"),
    "missing is null": lambda text, _: text.replace("real,,,", "real,null,<NA>,"),
    "an original of its own": lambda text, _: text.replace("anna.mp4,real,,", "anna.mp4,real,,clips/anna.mp4"),
    "rows twice": lambda text, _: text + text.split("\n", 1)[1],
}


@pytest.mark.parametrize("spelling", SAME.values(), ids=SAME.keys())
def test_another_spelling_is_the_same_plan(spelling: Callable[[str, Path], str | bytes], root: Path) -> None:
    expected = plan(root, PLAIN)
    assert [video.fault for video in expected.videos] == [None] * 4
    found = plan(root, spelling(PLAIN, root))
    assert found.videos == expected.videos
    assert all("occurs 2 times with the same values" in note for note in bad_rows(found))


GUESSED: dict[str, tuple[Callable[[str, Path], str], Mapping[str, int]]] = {
    "no folder": (lambda text, _: text.replace("clips/", ""), {BY_NAME: 4, ORIGINALS_BY_NAME: 2}),
    "no suffix": (
        lambda text, _: text.replace(".mp4", "").replace(".MP4", ""),
        {BY_NAME: 4, ORIGINALS_BY_NAME: 2},
    ),
    "stems": (
        lambda text, _: text.replace(".mp4", "").replace(".MP4", "").replace("clips/", ""),
        {BY_NAME: 4, ORIGINALS_BY_NAME: 2},
    ),
    "stems of originals": (
        lambda text, _: text.replace(",clips/anna.mp4,", ",anna,").replace(",clips/Bob Smith.mp4,", ",Bob Smith.mp4,"),
        {ORIGINALS_BY_NAME: 2},
    ),
    "another case": (
        lambda text, _: text.replace("\nclips/anna.mp4", "\nclips/Anna.mp4").replace("bob_fake.MP4", "bob_fake.mp4"),
        {BY_NAME: 2},
    ),
    "back-slashes": (lambda text, _: text.replace("clips/", "clips\\"), {BACK_SLASHES: 4}),
    "truth": (lambda text, _: text.replace(",real,", ",False,").replace(",fake,", ",TRUE,"), {WRITTEN_OUT: 4}),
}


@pytest.mark.parametrize(("spelling", "facts"), GUESSED.values(), ids=GUESSED.keys())
def test_a_guess_is_the_same_plan_and_counted(
    spelling: Callable[[str, Path], str], facts: Mapping[str, int], root: Path
) -> None:
    expected = plan(root, PLAIN)
    found = plan(root, spelling(PLAIN, root))
    assert found.videos == expected.videos
    assert dict(found.facts) == {**dict(expected.facts), **facts}
    assert bad_rows(found) == []


def test_other_formats_are_the_same_plan(root: Path) -> None:
    """A data frame writes NaN, floats and booleans where it has gaps."""
    expected = plan(root, PLAIN)
    full: list[dict[str, str | None]] = []
    for line in PLAIN.strip().split("\n")[1:]:
        path, label, method, original, split = line.split(",")
        full.append(
            {"path": path, "label": label, "method": method or None, "original": original or None, "split": split}
        )
    lines = "".join(json.dumps(row | {"label": row["label"] == "fake"}) + "\n" for row in full)
    assert plan(root, lines, "t.jsonl").videos == expected.videos
    pl.DataFrame([row | {"label": float(row["label"] == "fake")} for row in full]).write_parquet(root / "t.parquet")
    assert plan(root, (root / "t.parquet").read_bytes(), "t.parquet").videos == expected.videos


def test_absolute_paths_through_a_link_are_below_the_root(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    link = tmp_path_factory.mktemp("links") / "videos"
    link.symlink_to(root)
    expected = plan(root, PLAIN)
    assert (
        plan(root, absolute(PLAIN, link)).videos == expected.videos
    )  # the table names the link, the root is the folder
    assert plan(root, absolute(PLAIN, root), at=str(link)).videos == expected.videos
    assert plan(root, absolute(PLAIN, link), at=str(link)).videos == expected.videos


def test_a_path_elsewhere_is_refused_with_the_file_of_its_name(root: Path) -> None:
    found = plan(root, PLAIN + "/other/disk/anna.mp4,real,,,\nD:\\x\\Bob Smith.mp4,real,,,\n../up.mp4,fake,,,\n")
    assert bad_rows(found) == [
        "line 6: path '/other/disk/anna.mp4' is not a path below the root; 'clips/anna.mp4' has its name",
        "line 7: path 'D:\\\\x\\\\Bob Smith.mp4' is not a path below the root; 'clips/Bob Smith.mp4' has its name",
        "line 8: path '../up.mp4' is not a path below the root",
    ]
    assert found.videos == plan(root, PLAIN).videos


def test_a_name_that_fits_several_files_is_refused(root: Path) -> None:
    (root / "more").mkdir()
    (root / "more/anna.mp4").write_bytes(b"")
    found = plan(root, PLAIN.replace("clips/anna.mp4,real", "anna,real").replace(",clips/anna.mp4,", ",anna,"))
    videos = by_path(found)
    assert [videos[path].fault for path in ("clips/anna.mp4", "more/anna.mp4")] == ["unlabelled"] * 2
    assert bad_rows(found) == [
        "line 2: path 'anna' fits 2 files ('clips/anna.mp4', 'more/anna.mp4'), so none is used; write the whole path",
        "row 'clips/anna_fake.mp4' (line 4): original 'anna' fits 2 videos ('clips/anna.mp4', 'more/anna.mp4'), "
        "so none is used; write its path",
    ]
    assert videos["clips/anna_fake.mp4"].family_id == videos["clips/anna_fake.mp4"].video_id


def test_the_original_of_a_fake_of_the_same_name_is_the_real(root: Path) -> None:
    """Each fake is called like its real; three of the four files with the stem are fakes."""
    for path in ("real/001.mp4", "fake/a/001.mp4", "fake/b/001.mp4", "fake/c/001.mp4"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"")
    rows = [f"fake/{method}/001.mp4,1,{method},001" for method in "abc"]
    found = plan(root, "\n".join(["path,label,method,original", "real/001.mp4,0,,001", *rows]))
    families = {video.family_id for path, video in by_path(found).items() if "001" in path}
    assert families == {"folder-real-001"}
    assert dict(found.facts)[ORIGINALS_BY_NAME] == 3
    absent = plan(root, "\n".join(["path,label,method,original", *rows]).replace(",001", ",clips/002"))
    assert (
        len({video.family_id for video in absent.videos if video.label == 1}) == 1
    )  # of one original, which is absent


def test_rows_that_contradict_each_other_are_refused_with_their_lines(root: Path) -> None:
    found = plan(root, PLAIN + "anna,fake,swap,,\n\nclips/bob_fake.MP4,fake,other,clips/Bob Smith.mp4,val\n")
    assert bad_rows(found) == [
        "row 'clips/anna.mp4' (line 2, line 6): occurs twice with different values of label, so its video is "
        "unlabelled",
        "row 'clips/bob_fake.MP4' (line 5, line 8): occurs twice with different values of method, so its video is "
        "unlabelled",
    ]
    assert [video.path for video in found.videos if video.fault] == ["clips/anna.mp4", "clips/bob_fake.MP4"]


def test_a_score_is_no_label(root: Path) -> None:
    found = plan(root, PLAIN.replace("anna_fake.mp4,fake", "anna_fake.mp4,0.97"))
    assert bad_rows(found) == [
        "row 'clips/anna_fake.mp4' (line 4): label '0.97' is not 0, 1, real or fake (a score is no label), so its "
        "video is unlabelled"
    ]


def test_a_column_of_another_name_is_named(root: Path) -> None:
    found = plan(root, PLAIN.replace("original,split", "source,subset").replace("path,", "path,", 1))
    assert bad_rows(found) == [
        "column 'source' is not used; if it is the original, rename it to original",
        "column 'subset' is not used; if it is the split, rename it to split",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            PLAIN.replace(",real,", ",0.1,").replace(",fake,", ",0.9,"),
            "None of the 4 rows of the table table.csv gives a label to a file below ROOT: row 'clips/anna.mp4' "
            "(line 2): label '0.1' is not 0, 1, real or fake (a score is no label), so its video is unlabelled; row "
            "'clips/Bob Smith.mp4' (line 3): ",
        ),
        (
            PLAIN.replace("clips/", "/far/"),
            "line 2: path '/far/anna.mp4' is not a path below the root; 'clips/anna.mp4'",
        ),
        (PLAIN.replace("clips/", "gone/"), "below ROOT: 'gone/Bob Smith.mp4' is not below ROOT; "),
        ("path,label\n", "The table table.csv has a header and no rows; give it a row for each video."),
        ("", "The table table.csv is empty; give it the columns path and label, and a row for each video."),
    ],
)
def test_a_table_that_labels_nothing_says_why(content: str, words: str, root: Path) -> None:
    with pytest.raises(SemblanceError) as error:
        plan(root, content)
    assert words.replace("ROOT", str(root)) in str(error.value)
    assert str(error.value).count("(line") <= 3


def test_the_command_prints_what_was_guessed(root: Path, run: Run) -> None:
    (root / "t.csv").write_text(PLAIN.replace("clips/", "").replace(",real,", ",False,").replace(",fake,", ",True,"))
    output = run("ingest", "plan", "--dataset", "folder", "--root", root, "--set", "source.table=t.csv").stdout
    for fact, count in ((BY_NAME, 4), (ORIGINALS_BY_NAME, 2), (WRITTEN_OUT, 4)):
        assert f"{fact}: {count}" in output
    assert "│ -    │    2 │    2 │          0 │       0 │" in output
