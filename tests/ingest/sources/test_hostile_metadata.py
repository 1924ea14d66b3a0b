"""Whatever lies in a folder, every source answers with a discovery or one sentence, and no name steers a terminal."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance.ingest.sources import SOURCES
from semblance.ingest.sources.base import Discovery, SourceConfig
from semblance.ingest.sources.folder_table import COLUMNS
from semblance.manifests.console import plain
from semblance.manifests.errors import SemblanceError
from semblance.manifests.ids import MAX_ID
from semblance.manifests.splits import DatasetTraits, SplitConfig, assign, plan_frame
from tests.conftest import BIN, HANG
from tests.ingest.trees import discover, escaped, places

Tree = dict[str, object]

# Where each dataset keeps videos, and which split tables it has: the hostile names and contents go there.
VIDEOS: Final[Mapping[str, tuple[str, ...]]] = {
    "dfdc": ("dfdc_train_part_0/{}.mp4",),
    "dfdc-preview": ("original_videos/1/{}.mp4", "method_A/1/1_A/{}.mp4"),
    "ffpp": (
        "original_sequences/youtube/c23/videos/{}.mp4",
        "manipulated_sequences/Deepfakes/c23/videos/{}.mp4",
        "manipulated_sequences/Deepfakes/masks/videos/{}.mp4",
        "manipulated_sequences/{}/c23/videos/000_001.mp4",
        "FaceForensics++_C23/Deepfakes/{}.mp4",
        "{}/original/000.mp4",
    ),
    "celebdf": (
        "Celeb-real/{}.mp4",
        "YouTube-real/{}.mp4",
        "Celeb-synthesis/{}.mp4",
        "Celeb-synthesis/{}/LIA/id0_id1_0000.mp4",
    ),
    "wilddeepfake": ("real_train/{}.tar.gz", "fake_test/{}.tar.gz"),
    "folder": ("real/{}.mp4", "fake/{}/x.mp4", "fake/m/{}.mp4", "test/fake/{}/x.ts"),
}
TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "dfdc": ("dfdc_train_part_0/metadata.json", "validation/labels.csv", "metadata.json"),
    "dfdc-preview": ("dataset.json", "b/dataset.json"),
    "ffpp": ("train.json", "val.json", "splits/test.json", "conversion_dict.json", "dataset/conversion_dict.json"),
    "celebdf": ("List_of_testing_videos.txt",),
    "wilddeepfake": ("real_train/1.tar.gz", "fake_train/2.tar.gz"),
    "folder": ("t.csv",),
}
SOUND: Final[Mapping[str, Tree]] = {  # so that something can be planned
    "dfdc": {"p/metadata.json": {"s.mp4": {"label": "REAL"}}, "p/s.mp4": b""},
    "dfdc-preview": {
        "s/dataset.json": {"original_videos/1/1_A_0": {"label": "real"}},
        "original_videos/1/1_A_0.mp4": b"",
    },
    "ffpp": {"original_sequences/youtube/c23/videos/000.mp4": b""},
    "celebdf": {"Celeb-real/id0_0000.mp4": b""},
    "wilddeepfake": {},
    "folder": {"real/s.mp4": b""},
}
NAMES: Final = (
    "x" * 10_000,
    "é" * 5_000,
    "a\nb",
    "\r\x1b[2J\x1b]0;title\x07",
    "\x1b[31mred\x1b[0m",
    "[bold red]loud[/bold red]",
    "x[/]",
    "<img src=x onerror=alert(1)>",
    "'; DROP TABLE videos; --",
    '"quoted","comma',
    "nul\x00nul",
    "\x9b31mC1",
    "\u202egpj",
    "\u2028line",
    "n\udcff\udc80",
    "%s%n{0}{name}",
    "$(touch owned)",
    "-rf",
    "id0_id1_0000",
    "000_001",
    "..",
    "...",
    " ",
    "c:\\x",
)
DEEP: Final = 100_000
CONTENTS: Final[tuple[object, ...]] = (
    b"",
    b"\x00",
    b"\x00" * 5_000,
    b"\xff\xfe\x00",
    b"\xef\xbb\xbf",
    "null",
    "true",
    "-1e999",
    "NaN",
    "1" * 5_000,
    '"text"',
    "[" * DEEP,
    "[" * DEEP + "]" * DEEP,
    '{"a":' * DEEP + "1" + "}" * DEEP,
    "{}",
    "[]",
    "[[]]",
    "[[[]]]",
    '[["000"]]',
    '[["000", "001", "002"]]',
    '[["000", 1], [null, {}], "000", 7]',
    '[["000", "000"], ["000", "001"], ["001", "000"], ["000", "001"]]',
    '{"000": null, "001": 7, "002": [], "003": {}, "\\ud800": "\\udfff"}',
    '{"a.mp4": {"label": "REAL"}, "a.mp4": {"label": "FAKE"}}',
    '{"\\u0000.mp4": {"label": "REAL"}, "\\u001b[31m.mp4": {"label": "\\u001b[31m"}}',
    '{"\\ud800.mp4": {"label": "REAL"}, "a.mp4": {"label": "FAKE", "original": "\\ud800.mp4", "target_id": "\\udfff"}}',
    '{"method_A/\\ud800": {"label": "fake"}, "method_\\ud800/a": {"label": "fake", "set": "\\ud800"}}',
    "filename,label\n\x00.mp4,1\n",
    "path,label\n\x00.mp4,1\n\x1b[31m,\x1b\n[/x],[/y]\n",
    'filename,label\n"a.mp4,1\n',
    "filename,label\n" + "x" * 200_000 + ",1\n",
    "filename\n",
    ",\n,\n",
    "label,label\n1,1\n",
    "1\n",
    "1 Celeb-real/../../x.mp4\n0 /etc/passwd\n2 YouTube-real/x.mp4\n1\n\n1  \n1 Celeb-real/id0_0000.mp4 more\n",
    "\x001 Celeb-real/id0_0000.mp4\n",
    "1 Celeb-real/id0_0000.mp4\n0 Celeb-real/id0_0000.mp4\n" * 3,
    "\n".join(f"1 {name}" for name in NAMES if "\udcff" not in name),
    b"\x1f\x8b\x08\x00" + b"\x00" * 40,
    b"BZh9" + b"x" * 40,
    b"ustar" * 300,
)


def bad_archive() -> bytes:
    """A tar with every kind of member that must not be trusted."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name in (
            "../../owned.png",
            "/owned.png",
            "1/real/1/../../../owned.png",
            "1/real/1/" + "n" * 9_000,
            "\x1b.png",
        ):
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"png"))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo("1/real/1/0.png")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    return data.getvalue()


def every_cell() -> str:
    """A table of videos with each hostile name in each column."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    names = [name for name in NAMES if "\udcff" not in name]
    for place, column in enumerate(COLUMNS):
        for number, name in enumerate(names):
            row = [f"{column}{number}.mp4", str(number % 2), *[""] * (len(COLUMNS) - 2)]
            row[place] = name
            writer.writerow(row)
    return text.getvalue()


def survive(dataset: str, tree: Tree, config: SourceConfig | None = None) -> Discovery | None:
    """The discovery, checked; or None where the source refused in one printable sentence."""
    try:
        found = discover(dataset, tree, config or SourceConfig())
    except SemblanceError as error:
        output = plain(str(error))
        assert output.isprintable()
        assert len(output) > 20
        return None
    every = set(map(escaped, tree))
    counted = places(found)
    assert every <= counted.keys()
    ids = [video.video_id for video in found.videos]
    assert len(set(ids)) == len(ids)
    assert all(
        len(one) <= MAX_ID and one.isascii() and one.replace("_", "-").replace("-", "a").isalnum() for one in ids
    )
    for finding in found.findings:
        f"{finding.path}{finding.kind}{finding.reason}".encode()  # nothing that a table cannot hold
    info = SOURCES[dataset].info
    traits = DatasetTraits(basis=found.identity_basis or info.identity_basis, paired=info.paired)
    assert assign(plan_frame(found.videos), SplitConfig(), 0, traits).table.height == len(ids)
    return found


def config_of(dataset: str) -> SourceConfig:
    return SourceConfig(table="t.csv") if dataset == "folder" else SourceConfig()


@pytest.mark.parametrize("dataset", sorted(SOURCES))
def test_every_source_is_tried(dataset: str) -> None:
    """A source that is registered later must be described above."""
    assert dataset in VIDEOS.keys() & TABLES.keys() & SOUND.keys()
    assert survive(dataset, SOUND[dataset] | {"x.bin": b""}) is not None or not SOUND[dataset]


@pytest.mark.parametrize("dataset", sorted(SOURCES))
def test_hostile_names(dataset: str) -> None:
    planned = 0
    for form in VIDEOS[dataset]:
        for name in NAMES:
            found = survive(dataset, SOUND[dataset] | {form.format(name): b""})
            planned += found is not None
        survive(dataset, SOUND[dataset] | {form.format(name): b"" for name in NAMES})
    assert planned or dataset == "wilddeepfake"


@pytest.mark.parametrize("dataset", sorted(SOURCES))
def test_hostile_tables(dataset: str) -> None:
    for place in TABLES[dataset]:
        for content in (*CONTENTS, every_cell(), bad_archive()):
            survive(dataset, SOUND[dataset] | {place: content}, config_of(dataset))
            survive(dataset, {place: content}, config_of(dataset))


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=())),
    st.sampled_from(
        ["REAL", "FAKE", "real", "fake", "train", "test", "000", "001", "a.mp4", "1_A_0", "\ud800", "\x1b[1m"]
    ),
)
KEYS = st.sampled_from(["label", "split", "original", "is_fake", "set", "target_id", "swapped_id", "augmentations"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=6), inner, max_size=5),
    max_leaves=25,
)
ROW_NAMES = st.sampled_from(["a.mp4", "b.mp4", "original_videos/1/1_A_0", "method_A/1/1_A/2_1_A_0.mp4", "../x.mp4"])
DOCUMENTS = st.dictionaries(ROW_NAMES | st.text(max_size=5), VALUES, max_size=5) | VALUES


@settings(deadline=None, max_examples=60)
@given(DOCUMENTS, DOCUMENTS)
@pytest.mark.parametrize("dataset", sorted(SOURCES))
def test_any_json_at_every_level(dataset: str, first: object, second: object) -> None:
    tree = dict(SOUND[dataset])
    if dataset == "dfdc":
        tree["dfdc_train_part_0/a.mp4"] = b""
    for place, document in zip(TABLES[dataset], (first, second), strict=False):
        tree[place] = json.dumps(document)
    survive(dataset, tree, config_of(dataset))


BYTES = st.binary(max_size=60) | st.text("\"',;\n\r\t\x00\x1b01 /.aRpathlbe", max_size=80).map(str.encode)


@settings(deadline=None, max_examples=60)
@given(BYTES, st.sampled_from(["", "path,label\n", "filename,label\n", "1 Celeb-real/", "{", '{"a.mp4":']))
@pytest.mark.parametrize("dataset", sorted(SOURCES))
def test_any_bytes_in_a_table(dataset: str, data: bytes, head: str) -> None:
    for place in TABLES[dataset]:
        survive(dataset, SOUND[dataset] | {place: head.encode() + data}, config_of(dataset))


# on a real disk and a real terminal's bytes ---------------------------------------------------------------------

STEERS: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]")  # all but the line feed


def write(root: Path, tree: Tree) -> None:
    for name, content in tree.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str | bytes) else json.dumps(content)
        file.write_bytes(text.encode() if isinstance(text, str) else text)


@pytest.mark.parametrize("dataset", sorted(SOURCES))
def test_plan_prints_nothing_that_steers_a_terminal(dataset: str, tmp_path: Path) -> None:
    """Names, folders, metadata and the root itself, as foreign as a disk allows."""
    root = tmp_path / "x[" / "bold red]\x1b[31m"
    names = [
        name for name in NAMES if len(name.encode("utf-8", "surrogateescape")) < 250 and not set(name) & {"\0", "/"}
    ]
    for form in VIDEOS[dataset]:
        write(root, {form.format(name): b"" for name in names if name not in ("..", ".", "x[/]")})
        folder = form.rpartition("/")[0].replace("{}", "m")
        write(root, {f"{folder}\x1b[1m[red]/{form.rpartition('/')[2].format('z')}": b""})
    write(root, SOUND[dataset])
    for place in TABLES[dataset]:
        write(root, {place: '{"\\u001b[31m.mp4": {"label": "\\u001b[0m[/red]"}, "z.mp4": {"label": 3}}'})
    options = []
    if dataset == "folder":
        rows = "real/s.mp4,0,\x1b[2J\n\x1b[1m.mp4,[/red],[/red],\nf.mp4,1,[/red]\x1b,\n"
        write(root, {"t.csv": "path,label,method,\x1b[31m\n" + rows})
        options = ["--set", "source.table=t.csv"]
    output = ""
    for more in ([], options):
        done = subprocess.run(
            [BIN / "ingest", "plan", "--dataset", dataset, "--root", root, *more],
            capture_output=True,
            check=False,
            timeout=HANG,
        )
        output = (done.stdout + done.stderr).decode()
        assert done.returncode in (0, 1), output
        assert "Traceback" not in output
        assert not STEERS.search(output), STEERS.findall(output)
        assert done.returncode == 0 or output.count("\n") == 1
        assert max(map(len, output.splitlines())) < 1_000
    assert not (tmp_path / "owned").exists()
