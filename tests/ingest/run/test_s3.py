"""A complete build from and to object storage: a real S3 API on loopback, in its own process."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.conftest import BIN, HANG
from tests.ingest.run.test_build import content


def test_a_build_from_s3_to_s3_is_the_same(
    s3: dict[str, str], demo: Path, built: Path, recipe: tuple[str, ...], tmp_path: Path
) -> None:
    """With input and output on S3, every byte except versions of inputs and fingerprint equals the local build."""

    def call(command: str, *arguments: object, expect: int = 0) -> str:
        words = [str(BIN / command), *map(str, arguments)]
        done = subprocess.run(words, env=s3, capture_output=True, text=True, timeout=HANG, check=False)
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout

    copy = "import fsspec, sys; fs = fsspec.filesystem('s3'); fs.{}(sys.argv[1], sys.argv[2], recursive=True)"
    call("python", "-c", copy.format("put"), f"{demo}/", "bucket/ingest/dfdc/")
    build = (
        "ingest",
        "build",
        "--dataset",
        "dfdc",
        "--root",
        "s3://bucket/ingest/dfdc",
        "--out",
        "s3://bucket/ingest/out",
    )
    call(*build, "--workers", 1, *recipe)
    assert "intact" in call("shards", "verify", "s3://bucket/ingest/out", "--deep")
    assert "nothing to do" in call(*build, *recipe)
    assert "finished" in call("ingest", "status", "s3://bucket/ingest/out")
    assert call("quality", "audit", "s3://bucket/ingest/out").startswith(
        "WARNING: s3://bucket/ingest/out under family: whole videos are lost"
    )
    call("python", "-c", copy.format("get"), "bucket/ingest/out/", f"{tmp_path}/out/")
    remote, local = content(tmp_path / "out"), content(built)
    assert remote.keys() == local.keys()
    different = (
        "build.json",
        "dataset.json",
        "inputs.parquet",
        "CARD.md",
    )  # contain the fingerprint or versions of inputs
    for name in remote.keys() - set(different):
        if name.startswith("receipts/"):
            del remote[name]["fingerprint"], local[name]["fingerprint"]
        assert remote[name] == local[name], name
