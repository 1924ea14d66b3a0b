"""Repacking and exporting from and to object storage: a real S3 API on loopback."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from semblance.shards import verify
from semblance.shards.export.registry import export
from semblance.shards.repack import plan, run
from semblance.shards.repack.plan import RepackRequest
from tests.conftest import HANG, REPOSITORY
from tests.ingest.run.test_build import content
from tests.shards import synthetic

THERE = """
import sys
import fsspec
from semblance.manifests.errors import SemblanceError
from semblance.shards import verify
from semblance.shards.export.registry import export
from semblance.shards.repack import plan, run

local, back = sys.argv[1:]
fs = fsspec.filesystem("s3")
fs.put(f"{local}/", "bucket/repack/out/", recursive=True)
fs.invalidate_cache()
made = plan.plan("s3://bucket/repack/out", plan.RepackRequest(split="identity"))
run.run(made, "s3://bucket/repack/out2")
assert verify.verify("s3://bucket/repack/out2", deep=True).problems == []
assert run.run(made, "s3://bucket/repack/out2").worked == 0
print(export("s3://bucket/repack/out2", "deepfakebench", "s3://bucket/repack/export").pictures.total())
export("s3://bucket/repack/out2", "folder", f"{back}/folder")
for to in ("s3://bucket/repack/export", "s3://bucket/repack/out2/export"):
    try:
        export("s3://bucket/repack/out2", "folder", to)
    except SemblanceError as error:
        print(error)
fs.get("bucket/repack/out2/", f"{back}/out2/", recursive=True)
fs.get("bucket/repack/export/", f"{back}/export/", recursive=True)
"""


def test_repacked_and_exported_on_s3_as_on_disk(s3: dict[str, str], tmp_path: Path) -> None:
    """Every byte is that of the same commands on a disk."""
    out, back = tmp_path / "out", tmp_path / "back"
    people = synthetic.people(random.Random(6), 8)
    synthetic.build(out, people, "shards.target_bytes=60000", "split.protocol=family")
    command = [sys.executable, "-c", THERE, str(out), str(back)]
    done = subprocess.run(command, cwd=REPOSITORY, env=s3, capture_output=True, text=True, timeout=HANG, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    run.run(plan.plan(str(out), RepackRequest(split="identity")), str(tmp_path / "out2"))
    assert verify.verify(str(tmp_path / "out2"), deep=True).problems == []
    assert content(back / "out2") == content(tmp_path / "out2")
    for form, folder in (("deepfakebench", "export"), ("folder", "folder")):
        exported = export(str(tmp_path / "out2"), form, str(tmp_path / form))
        assert content(back / folder) == content(tmp_path / form)
        assert exported.pictures.total() > 0
    output = done.stdout.splitlines()
    assert output[0] == str(exported.pictures.total())
    assert "is not empty" in output[1]
    assert "a build is never changed" in output[2]
