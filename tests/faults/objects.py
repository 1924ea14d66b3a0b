"""Faults of object storage: a real S3 API on loopback behind a proxy that injects them."""

from __future__ import annotations

import json
import shutil
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any

import boto3

from semblance.shards.layout import Receipt
from tests.conftest import AWS
from tests.faults import proxy, rig


class Store:
    """The bucket of the S3 server whose environment is ``env``, looked at directly, past any proxy."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = {name: env[name] for name in (*AWS, "AWS_ENDPOINT_URL")}
        self.port = urllib.parse.urlsplit(env["AWS_ENDPOINT_URL"]).port or 0
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=env["AWS_ENDPOINT_URL"],
            aws_access_key_id="test",
            aws_secret_access_key="test",
            region_name=AWS["AWS_DEFAULT_REGION"],
        )

    def put(self, local: Path, prefix: str) -> None:
        for file in sorted(path for path in local.rglob("*") if path.is_file()):
            self._client.upload_file(str(file), "bucket", f"{prefix}/{file.relative_to(local).as_posix()}")

    def get(self, prefix: str, local: Path) -> Path:
        """A copy of all objects below a prefix."""
        shutil.rmtree(local, ignore_errors=True)
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=f"{prefix}/"):
            for entry in page.get("Contents", []):
                target = local / entry["Key"].removeprefix(f"{prefix}/")
                target.parent.mkdir(parents=True, exist_ok=True)
                self._client.download_file("bucket", entry["Key"], str(target))
        return local

    def through(self, way: proxy.Proxy, patience: float) -> dict[str, str]:
        """The environment of a client that goes through a proxy."""
        return self.env | {"AWS_ENDPOINT_URL": way.address, "SEMBLANCE_PATIENCE": str(patience)}


def undisturbed(store: Store, root: Path, folder: Path) -> Path:
    """The collection on the store, and a local copy of its build there, straight."""
    store.put(root, "faults/dfdc")
    ended = rig.build("s3://bucket/faults/dfdc", "s3://bucket/faults/good", "--workers", 1, env=store.env)
    assert ended.code == 0, ended.said
    return store.get("faults/good", folder / "s3-good")


def torn_objects(out: Path, undisturbed_: Path) -> list[str]:
    """Objects under final names that are not whole: whatever has a receipt must fit it, tars must be the real ones."""
    bad = []
    for file in out.glob("receipts/*.json"):
        try:
            receipt = Receipt.from_json(file.read_text())
        except ValueError:
            bad.append(str(file))
            continue
        for stored in receipt.stored():
            there = out / stored.path
            if not there.exists() or there.stat().st_size != stored.bytes:
                bad.append(stored.path)
    for tar in out.glob("shards/*/*.tar"):
        name = tar.relative_to(out)
        if tar.read_bytes() != (undisturbed_ / name).read_bytes():
            bad.append(str(name))
    for file in out.glob("*.json"):
        json.loads(file.read_text())
    return bad


def troubled(store: Store, number: int, good: Path, folder: Path, **every: int) -> rig.Line:
    """One build from and to a store that misbehaves now and then: it must end by itself, and be the same."""
    name = f"faults/out-{number}"
    with proxy.before(store.port, **every) as way:
        env = store.through(way, 120)
        ended = rig.build("s3://bucket/faults/dfdc", f"s3://bucket/{name}", "--workers", 2, env=env)
    out = store.get(name, folder / f"s3-{number}")
    assert ended.code in (0, None), ended.said
    assert len(way.counted) == len(every), f"of {every} only these came up: {way.counted}"
    same = ended.code == 0 and rig.same(out, good)
    injected = ", ".join(f"{count} {fault}" for fault, count in sorted(way.counted.items()))
    return rig.Line(
        fault=f"S3: {injected}",
        rounds=way.counted.total(),
        outcome="one build, the same bytes" if same else "OTHER BYTES",
        lost=0 if same else rig.lost_samples(out, good),
        wrong=int(ended.code == 0 and not same),
        stuck=int(ended.code is None),
    )


def away(store: Store, number: int, good: Path, folder: Path, *, seconds: float | None, patience: float) -> rig.Line:
    """The store goes away in the middle of a build, for some seconds or for good.

    For good: a sentence, no torn object, and the next run gives the same bytes.
    """
    name = f"faults/away-{number}"
    words = rig.command("s3://bucket/faults/dfdc", f"s3://bucket/{name}", "--workers", 2)
    few = {} if seconds is not None else {"AWS_MAX_ATTEMPTS": "2"}  # the client's own tries, which take their time
    with proxy.before(store.port) as way, rig.started(words, store.through(way, patience) | few) as process:
        assert rig.wait_until(lambda: _begun(store, name)), "the build did not begin"
        way.go()
        if seconds is not None:
            timer = threading.Timer(seconds, way.come)
            timer.start()
        started = time.monotonic()
        ended = rig.finish(process)
        waited = time.monotonic() - started
    fault = "S3 goes away for good" if seconds is None else f"S3 goes away for {seconds:g} s"
    if ended.code is None:
        return rig.Line(fault=fault, rounds=1, outcome="STUCK", stuck=1)
    out = store.get(name, folder / f"s3-away-{number}")
    torn = torn_objects(out, good)
    if seconds is not None:
        assert ended.code == 0, ended.said
        outcome = "waited for, the same bytes"
    else:
        assert ended.code == 1, ended.said
        assert ended.clear, ended.said
        outcome = f"one sentence after {waited:.0f} s, no torn object, the next run gives the same bytes"
        again = rig.build("s3://bucket/faults/dfdc", f"s3://bucket/{name}", "--workers", 1, env=store.env)
        assert again.code == 0, again.said
        out = store.get(name, folder / f"s3-away-{number}")
    same = rig.same(out, good)
    return rig.Line(fault=fault, rounds=1, outcome=outcome, wrong=len(torn) + (not same))


def _begun(store: Store, name: str) -> bool:
    found = store._client.list_objects_v2(Bucket="bucket", Prefix=f"{name}/plan.parquet")
    return bool(found.get("KeyCount"))
