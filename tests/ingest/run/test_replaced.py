"""Damaged files that were replaced: the build goes on with --retry failed, and any other change is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from semblance.ingest import plan as planning
from semblance.ingest.plan import Plan
from semblance.ingest.recipe import parse
from semblance.ingest.run import describe, replaced, retry
from semblance.manifests import scan
from semblance.manifests.errors import SemblanceError
from semblance.shards import build_folder, verify
from semblance.shards.card import card
from tests.conftest import Run
from tests.ingest import in_process

RECIPE = {"sampling": {"n": 2}, "gates": {"mode": "mark"}}


@pytest.fixture
def root(demo: Path, tmp_path: Path) -> Path:
    """Three originals of the demo, of which half.mp4 is not complete."""
    metadata = min(demo.rglob("metadata.json"))
    names = sorted(name for name, row in json.loads(metadata.read_text()).items() if row["label"] == "REAL")
    folder = tmp_path / "videos"
    (folder / "real").mkdir(parents=True)
    for name, to in zip(names, ("whole", "half"), strict=False):
        shutil.copy(metadata.parent / name, folder / f"real/{to}.mp4")
    shutil.move(folder / "real/half.mp4", tmp_path / "good.mp4")
    (folder / "real/half.mp4").write_bytes((tmp_path / "good.mp4").read_bytes()[:2000])
    return folder


def planned(root: Path) -> Plan:
    return planning.make("folder", str(root), parse(RECIPE, "test"))


def command(root: Path, out: Path) -> tuple[object, ...]:
    settings = ("--set", "sampling.n=2", "--set", "gates.mode=mark", "--workers", 1)
    return ("ingest", "build", "--dataset", "folder", "--root", root, "--out", out, *settings)


def test_a_replaced_file_is_processed_again(root: Path, tmp_path: Path, run: Run) -> None:
    out, straight, log = tmp_path / "out", tmp_path / "straight", tmp_path / "log.jsonl"
    first = planned(root)
    in_process.build(first, str(out))
    assert dict(scan(str(out), "videos").select("path", "status").collect().iter_rows())["real/half.mp4"] != "ok"
    shutil.copy(tmp_path / "good.mp4", root / "real/half.mp4")
    told = run(*command(root, out), expect=1).stderr
    assert "1 file of failed videos changed since" in told
    assert "add --retry failed" in told
    done = run(*command(root, out), "--retry", "failed", "--log", log).stdout
    assert "input real/half.mp4: 2000 ->" in done
    assert not verify.verify(str(out), deep=True).problems
    in_process.build(planned(root), str(straight))
    for table in ("samples", "videos", "plan"):
        found, expected = (
            scan(str(folder), table).collect().drop("^seconds_.*$").sort("video_id") for folder in (out, straight)
        )
        assert found.equals(expected), table
    described = json.loads((out / "dataset.json").read_text())
    assert described["fingerprint"] == first.fingerprint
    assert [entry["path"] for entry in described["replaced"]] == ["real/half.mp4"]
    assert "File of a failed video replaced during the build: real/half.mp4: 2000 ->" in (out / "CARD.md").read_text()
    assert "files replaced" in {json.loads(line)["event"] for line in log.read_text().splitlines()}
    assert "nothing to do" in run(*command(root, out)).stdout

    # it has passed now, so it is an input like any other: neither another file nor the old one is accepted
    (root / "real/half.mp4").write_bytes((tmp_path / "good.mp4").read_bytes()[:2000])
    assert "contains another build" in run(*command(root, out), "--retry", "failed", expect=1).stderr


@pytest.mark.parametrize("what", ["whole", "whole too", "new", "gone"])
def test_any_other_change_is_refused(root: Path, tmp_path: Path, what: str) -> None:
    out = str(tmp_path / "out")
    in_process.build(planned(root), out)
    if what != "whole":
        shutil.copy(tmp_path / "good.mp4", root / "real/half.mp4")
    if what.startswith("whole"):
        shutil.copy(tmp_path / "good.mp4", root / "real/whole.mp4")
    if what == "new":
        shutil.copy(tmp_path / "good.mp4", root / "real/third.mp4")
    if what == "gone":
        (root / "real/whole.mp4").unlink()
    with pytest.raises(SemblanceError, match="contains another build"):
        build_folder.belongs(replaced.reconciled(planned(root), out, "failed"), out)


def test_a_retry_that_was_interrupted_is_finished(root: Path, tmp_path: Path) -> None:
    """What it had selected is selected again, though nothing else says so any more."""
    out = str(tmp_path / "out")
    plan = planned(root)
    in_process.build(plan, out)
    selected = retry.failed(plan, out)
    assert selected
    assert not retry.unfinished(plan, out)
    retry.begin(out, selected)
    assert retry.unfinished(plan, out) == selected
    retry.begin(out, {})
    assert not retry.unfinished(plan, out)
    assert build_folder.belongs(plan, out)


def test_the_file_that_failed_may_come_back(root: Path, tmp_path: Path) -> None:
    """As long as its video fails; each change is a record, and a run without --retry accepts the last one alone."""
    out = str(tmp_path / "out")
    file = root / "real/half.mp4"
    damaged = file.read_bytes()
    in_process.build(planned(root), out)
    for content in (damaged[:1000], damaged):
        file.write_bytes(content)
        with pytest.raises(SemblanceError, match="add --retry failed"):
            replaced.reconciled(planned(root), out, None)
        plan = replaced.reconciled(planned(root), out, "failed")
        assert replaced.reconciled(plan, out, "failed") == plan
        build_folder.claim(plan, out)
        replaced.record(plan, out)
        assert not replaced.changes(plan, out)
        assert build_folder.belongs(replaced.reconciled(planned(root), out, None), out)
        assert any(retry.failures(plan, out).values())
        description = describe.describe(plan, out)
        build_folder.finish(out, description, card(description))
        size = scan(out, "plan").filter(pl.col("path") == "real/half.mp4").collect()["bytes"].item()
        assert size == len(content)
    assert len(replaced.listed(out)) == 2
