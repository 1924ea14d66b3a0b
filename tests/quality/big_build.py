"""A build of millions of rows, made up: whole tables and receipts, tars of two pictures and a hole, planted leaks.

``python -m tests.quality.big_build OUT ROWS`` writes one; the audit's memory and time are measured on it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from semblance.manifests import schema
from semblance.manifests.ids import make_sample_id
from semblance.quality import codec
from semblance.shards import layout
from semblance.shards.layout import Receipt, Stored

MEMBERS, FRAMES, FAMILIES = 6, 32, 16  # videos a family, frames a video, families a shard
REJECTED = 3  # faces a video
METHODS = ("pristine", "Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")
COPIES = 3  # families of train that stand in test again, under other names
TAR_BYTES = 80_000_000
_CELL = 512  # bytes before the first picture of a tar


@dataclass(frozen=True)
class Big:
    """What was written: rows, families, and the pairs of video ids that are copies of each other."""

    rows: int
    families: int
    copies: frozenset[tuple[str, str]]


def write(out: Path, rows: int, *, seed: int = 0, scenes: float = 0.1) -> Big:
    """About ``rows`` samples; ``scenes`` of the families stand in one scene with others, alike but not the same."""
    chance = np.random.default_rng(seed)
    shards = max(rows // (MEMBERS * FRAMES * FAMILIES), 3)
    families = shards * FAMILIES
    sides = np.array(["train", "val", "test"])[np.searchsorted([0.8, 0.9], np.arange(shards) / shards, side="right")]
    bases = _bases(families, scenes, chance)
    test = np.flatnonzero(np.repeat(sides, FAMILIES) == "test")
    copied = {int(test[k]): k for k in range(COPIES)}  # family of test -> family of train
    pictures = [_picture(chance) for _ in range(shards)], _picture(np.random.default_rng(1))
    plans, copies = [], set()
    for folder in ("manifests/samples", "manifests/rejects", "manifests/videos", "receipts"):
        (out / folder).mkdir(parents=True)
    for shard in range(shards):
        first = shard * FAMILIES
        numbers = np.arange(first, first + FAMILIES)
        hashes = _hashes(bases[[copied.get(int(number), int(number)) for number in numbers]], numbers, copied, seed)
        key = layout.shard_key("folder", str(sides[shard]), int((sides[:shard] == sides[shard]).sum()))
        videos = _videos(numbers, str(sides[shard]), layout.tar_path(key, str(sides[shard])), families)
        same = np.isin(numbers, [*copied, *copied.values()])
        _write_shard(out, key, videos, hashes, same, pictures[0][shard], pictures[1], chance)
        plans.append(videos)
        for number in numbers:
            if int(number) in copied:
                ends = [
                    [_name(family, member) for member in range(MEMBERS)]
                    for family in (copied[int(number)], int(number))
                ]
                copies |= {(min(a, b), max(a, b)) for a in ends[0] for b in ends[1]}
    plan = _conform(pl.concat(plans), schema.PLAN).with_columns(order=pl.int_range(pl.len()))
    plan.write_parquet(out / "plan.parquet")
    described = {"fingerprint": "0", "split": "identity", "recipe": {"split": {"against": "recording"}}}
    (out / "dataset.json").write_text(json.dumps(described))
    return Big(rows=shards * FAMILIES * MEMBERS * FRAMES, families=families, copies=frozenset(copies))


def _bases(families: int, scenes: float, chance: np.random.Generator) -> NDArray[np.float32]:
    """Where the frames of each family begin, as 64 coefficients of which a few weigh the most."""
    spread = (1 / np.sqrt(1 + np.arange(64) / 8)).astype(np.float32)
    bases = chance.standard_normal((families, 64), np.float32) * spread
    shared = int(families * scenes) // 8 * 8
    places = chance.permutation(families)[:shared].reshape(-1, 8)
    bases[places] = bases[places[:, :1]] + 0.05 * chance.standard_normal((len(places), 8, 64), np.float32) * spread
    return bases


def _hashes(
    bases: NDArray[np.float32], numbers: NDArray[np.int64], copied: dict[int, int], seed: int
) -> NDArray[np.uint64]:
    """(families, members, frames): half of the 64 bits set, as in a perceptual hash."""
    drifts = []
    for number in numbers:
        own = np.random.default_rng([seed, copied.get(int(number), int(number))])  # a copy moves as its original does
        drifts.append(np.cumsum(0.04 * own.standard_normal((FRAMES, 64)), axis=0))
    noise = np.random.default_rng([seed, int(numbers[0])]).standard_normal((len(numbers), MEMBERS, FRAMES, 64)) * 0.01
    values = bases[:, None, None, :] + np.stack(drifts)[:, None] + noise
    bits = values > np.median(values, axis=-1, keepdims=True)
    return np.packbits(bits, axis=-1).view(">u8")[..., 0].astype(np.uint64)


def _videos(numbers: NDArray[np.int64], side: str, shard: str, families: int) -> pl.DataFrame:
    family = np.repeat(numbers, MEMBERS)
    member = np.tile(np.arange(MEMBERS), len(numbers))
    donor = np.where(member > 0, numbers[0] + (family - numbers[0] + member) % len(numbers), -1)
    names = [_name(int(f), int(m)) for f, m in zip(family, member, strict=True)]
    frame = pl.DataFrame(
        {
            "video_id": names,
            "path": [f"videos/{name}.mp4" for name in names],
            "dataset": "folder",
            "label": (member > 0).astype(np.int8),
            "method": [METHODS[m] for m in member],
            "family_id": [f"folder-family{f:06d}" for f in family],
            "target_id": [f"person{f:06d}" for f in family],
            "donor_id": [f"person{d:06d}" if d >= 0 else None for d in donor],
            "recording_id": [f"recording{f:06d}" for f in family],
            "shard": shard,
        }
    )
    columns = ("split", "split_family", "split_identity")
    leaky = pl.when(pl.col("family_id") == f"folder-family{families - 1:06d}").then(pl.lit("person000000"))
    return frame.with_columns(pl.lit(side).alias(name) for name in columns).with_columns(
        target_id=leaky.otherwise(pl.col("target_id"))  # a person of train in test
    )


def _name(family: int, member: int) -> str:
    return f"folder-clip{family:06d}_{member}"


def _write_shard(
    out: Path,
    key: str,
    videos: pl.DataFrame,
    hashes: NDArray[np.uint64],
    same: NDArray[np.bool_],
    picture: bytes,
    common: bytes,
    chance: np.random.Generator,
) -> None:
    count = videos.height * FRAMES
    frames = np.tile(np.arange(FRAMES) * 9, videos.height)
    of_common = np.repeat(same, MEMBERS * FRAMES)
    digests = chance.bytes(32 * count).hex()
    places = np.where(of_common, _CELL + len(picture), _CELL)
    measures = {name: chance.random(count, np.float32) for name in ("blur", "brightness", "contrast", "face_ratio")}
    fakes = np.tile(np.repeat(np.arange(MEMBERS) > 0, FRAMES), videos.height // MEMBERS)
    forged = np.where(fakes, chance.uniform(3.5, 20, count), np.nan)
    sides = chance.uniform(80, 300, count)
    samples = videos[
        np.repeat(np.arange(videos.height), FRAMES)
    ].with_columns(
        frame_index=pl.Series(frames),
        track=pl.lit(0),
        verdict=pl.lit("keep"),
        tar_offset=pl.Series(places),
        tar_bytes=pl.Series(np.where(of_common, len(common), len(picture))),
        frame_phash=pl.Series(hashes.reshape(-1)),
        phash=pl.Series(hashes.reshape(-1)[::-1]),
        aligned_phash=pl.Series(hashes.reshape(-1) >> np.uint64(1)),  # a copy has its original's, as of its frames
        aligned_phash_mirrored=pl.Series(~hashes.reshape(-1) >> np.uint64(1)),
        crop_x0=pl.lit(10),
        crop_y0=pl.lit(10),
        crop_side=pl.lit(200),
        box_x0=pl.lit(100.0),
        box_y0=pl.lit(100.0),
        box_x1=pl.Series(100 + sides),
        box_y1=pl.Series(100 + sides),
        confidence=pl.Series(chance.uniform(0.95, 1, count)),
        encoded_bytes=pl.Series(chance.integers(10_000, 30_000, count)),
        face_label=pl.Series(fakes.astype(np.int8)),
        change=pl.Series(forged / 2).fill_nan(None),
        change_peak=pl.Series(forged).fill_nan(None),
        ita=pl.Series(chance.uniform(-50, 60, count)),
        landmarks=pl.lit([float(value) for value in range(10)]),
        sha256=pl.Series([digests[64 * place : 64 * place + 64] for place in range(count)]),
        **{name: pl.Series(values) for name, values in measures.items()},
    )
    names = [make_sample_id(v, f, 0) for v, f in zip(samples["video_id"], frames, strict=True)]
    samples = samples.with_columns(sample_id=pl.Series(names))
    rejects = samples.filter(pl.Series(np.tile(np.arange(FRAMES) < REJECTED, videos.height))).with_columns(
        sample_id=pl.col("sample_id") + "x",
        unit=pl.lit("face"),
        stage=pl.lit("gate"),
        reason=pl.lit("blur"),
        reasons=pl.lit(["blur"]),
        tar_offset=pl.lit(None),
    )
    seen = dict.fromkeys(("crops_kept", "frames_sampled"), FRAMES) | {"faces_seen": FRAMES + REJECTED}
    own = np.repeat(chance.integers(0, 2, videos.height // MEMBERS), MEMBERS)  # acquisition is the family's
    rows = videos.with_columns(
        status=pl.lit("ok"),
        width=pl.lit(480),
        height=pl.lit(360),
        crops_rejected=pl.lit(REJECTED),
        fps=pl.Series(np.where(own, 25.0, 30.0)),
        duration_s=pl.Series(np.where(own, 12.0, 10.0)),
        bit_rate=pl.Series(chance.integers(900_000, 1_100_000, videos.height)),
        **{name: pl.lit(value) for name, value in seen.items()},
    )
    shard = videos["shard"][0]
    tables = {"samples": samples, "rejects": rejects, "videos": rows}
    stored = {}
    for table, frame in tables.items():
        path = layout.manifest_path(table, key)
        _conform(frame, schema.TABLES[table]).write_parquet(out / path)
        stored[table] = Stored(path=path, bytes=(out / path).stat().st_size, sha256="")
    (out / shard).parent.mkdir(parents=True, exist_ok=True)
    with (out / shard).open("wb") as tar:
        tar.write(bytes(_CELL) + picture + common)
        tar.truncate(TAR_BYTES)
    receipt = Receipt(
        key=key,
        fingerprint="0",
        shard=shard,
        sha256="",
        bytes=TAR_BYTES,
        samples=count,
        rejects=rejects.height,
        videos=videos.height,
        files=(stored["samples"], stored["rejects"]),
        statuses={"ok": videos.height},
        times={"videos_bytes": stored["videos"].bytes},
    )
    (out / layout.receipt_path(key)).write_text(receipt.to_json())


def _conform(frame: pl.DataFrame, wanted: object) -> pl.DataFrame:
    """All columns of the table, null where the frame lacks them, in its types and order."""
    empty = pl.from_arrow(wanted.empty_table())  # type: ignore[attr-defined]
    assert isinstance(empty, pl.DataFrame)
    return (
        frame.select(
            (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kind).alias(name)
            for name, kind in empty.schema.items()
        )
        if frame.width
        else empty
    )


def _picture(chance: np.random.Generator) -> bytes:
    coarse = chance.integers(0, 255, (16, 16, 3), np.uint8)
    image = np.repeat(np.repeat(coarse, 4, axis=0), 4, axis=1)
    return codec.encode(image, codec.EncodingConfig())


if __name__ == "__main__":
    print(write(Path(sys.argv[1]), int(float(sys.argv[2]))).rows)
