"""Archives of pictures, valid and hostile, built in memory."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np

from semblance.manifests.records import Image
from semblance.quality import codec


def face(seed: int, side: int = 224, sigma: float = 2.0) -> Image:
    """A picture (side, side, 3) that passes the gates: noise around mid-grey, blurred by ``sigma`` px."""
    noise = np.random.default_rng(seed).normal(0, 1, (side, side, 3))
    soft = cv2.GaussianBlur(noise, (0, 0), sigma)
    return np.clip(128 + 40 * soft / soft.std(), 0, 255).astype(np.uint8)


def png(image: Image) -> bytes:
    return codec.encode(image, codec.EncodingConfig(format="png"))


def entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info


def archive(
    members: Mapping[str, bytes] | Iterable[tuple[str | tarfile.TarInfo, bytes]], *, packed: bool = False
) -> bytes:
    """A tar of these members in order; a name that ends in "/" is a folder; ``packed``: with gzip."""
    pairs = members.items() if isinstance(members, Mapping) else members
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in pairs:
            info = name if isinstance(name, tarfile.TarInfo) else entry(name)
            if info.name.endswith("/"):
                info.type = tarfile.DIRTYPE
            info.size = info.size or len(data)
            tar.addfile(info, io.BytesIO(data) if data else None)
    plain = buffer.getvalue()
    return gzip.compress(plain, 1, mtime=0) if packed else plain


def bomb(mebibytes: int) -> bytes:
    """A member of this many MiB of zeros, compressed to a thousandth."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    header = entry("1/real/9/0.png", size=mebibytes << 20).tobuf(tarfile.GNU_FORMAT)
    parts = [packer.compress(header), *(packer.compress(bytes(1 << 20)) for _ in range(mebibytes)), packer.flush()]
    return b"".join(parts)


def write_tree(root: Path, tree: Mapping[str, bytes]) -> Path:
    """Write files by relative path; returns ``root``."""
    for path, data in tree.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root
