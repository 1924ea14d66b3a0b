"""Copies of clips as they are found in collections: nineteen changes by ffmpeg."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

_EVEN: Final = "scale=trunc(iw/2)*2:trunc(ih/2)*2"
_TEXT: Final = ",".join(  # a subtitle without a font: white blocks on a dark strip
    ["drawbox=x=iw*0.1:y=ih*0.84:w=iw*0.8:h=ih*0.1:color=black@0.5:t=fill"]
    + [f"drawbox=x=iw*{0.14 + 0.09 * word:.2f}:y=ih*0.87:w=iw*0.07:h=ih*0.04:color=white:t=fill" for word in range(8)]
)
_SCREEN: Final = (
    "perspective=x0=W*0.03:y0=H*0.02:x1=W*0.98:y1=H*0.05:x2=W*0.02:y2=H*0.97:x3=W*0.96:y3=H*0.99:sense=destination,"
    "gblur=sigma=0.8,eq=contrast=0.85:gamma=1.15:saturation=0.8,vignette=PI/5,noise=alls=8:allf=t"
)
_OVER: Final = "color=c=0x305070:s=960x540:r=30[back];[0:v]scale=-2:360[small];[back][small]overlay=60:120:shortest=1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What ffmpeg does to a clip: a chain of filters, or a graph; ``crf`` of x264; ``skip`` seconds at its start, and
    the ``length`` that is left.
    """

    chain: str = "null"
    graph: str | None = None
    crf: int = 23
    skip: float = 0.0
    length: float | None = None


CHANGES: Final[Mapping[str, Change]] = MappingProxyType(
    {
        "mirror": Change(chain="hflip"),
        "crop 10": Change(chain="crop=iw*0.9:ih*0.9"),
        "crop 20": Change(chain="crop=iw*0.8:ih*0.8"),
        "crop 40": Change(chain="crop=iw*0.6:ih*0.6"),
        "border": Change(chain="pad=iw*1.25:ih*1.25:(ow-iw)/2:(oh-ih)/2:color=gray"),
        "bars": Change(chain="pad=ih*16/9:ih:(ow-iw)/2:0"),
        "picture in picture": Change(graph=_OVER),
        "filmed screen": Change(chain=_SCREEN),
        "combination": Change(
            chain="hflip,crop=iw*0.85:ih*0.85,eq=brightness=0.06:saturation=1.3,scale=iw*0.8:-2", crf=30
        ),
        "5 degrees": Change(chain="rotate=5*PI/180"),
        "subtitle": Change(chain=_TEXT),
        "logo": Change(chain="drawbox=x=iw*0.8:y=ih*0.05:w=iw*0.15:h=ih*0.1:color=red:t=fill"),
        "offset": Change(skip=0.4),
        "speed": Change(chain="setpts=PTS/1.25,fps=30"),
        "grey": Change(chain="hue=s=0"),
        "warm": Change(chain="colorbalance=rm=0.2:bm=-0.2"),
        "bright": Change(chain="eq=brightness=0.1"),
        "half size": Change(chain="scale=iw/2:ih/2"),
        "crf 40": Change(crf=40),
    }
)

MOMENTS: Final[Mapping[str, Change]] = MappingProxyType(  # of one recording, without a common frame
    {"first part": Change(length=1.0), "last part": Change(skip=1.1)}
)


def make(clip: Path, to: Path, change: Change) -> None:
    """Write the changed copy of a clip."""
    start = ["-ss", str(change.skip)] if change.skip else []
    start += ["-t", str(change.length)] if change.length else []
    graph = change.graph or f"[0:v]{change.chain}"
    command = [
        *("ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-threads", "1", *start, "-i", str(clip)),
        *("-filter_complex", f"{graph},{_EVEN}[out]", "-map", "[out]", "-an", "-c:v", "libx264", "-threads", "1"),
        *("-preset", "veryfast", "-crf", str(change.crf), "-pix_fmt", "yuv420p", str(to)),
    ]
    subprocess.run(command, check=True, capture_output=True)


def collect(people: Mapping[str, Path], names: Iterable[str], root: Path, *, distractors: Mapping[str, Path]) -> None:
    """A collection for the source ``folder``: of each person the clip and its changed copies, each a family of its own;
    clips in train, copies in test. ``distractors`` are further people, without copies.
    """
    root.mkdir(parents=True, exist_ok=True)
    rows = []
    for person, clip in {**people, **distractors}.items():
        (root / f"{person}.mp4").symlink_to(clip)
        rows.append((f"{person}.mp4", "real", person, "train"))
    for person, clip in people.items():
        for name in names:
            file = f"{person}_{name.replace(' ', '_')}.mp4"
            make(clip, root / file, {**CHANGES, **MOMENTS}[name])
            rows.append((file, "real", person, "test"))
    with (root / "table.csv").open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(("path", "label", "target", "split"))
        writer.writerows(rows)
