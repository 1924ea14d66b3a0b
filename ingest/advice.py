"""Advice on a plan with which a detector cannot be validated or tested: splits of only reals or only fakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from semblance.ingest.plan import Plan
from semblance.manifests.records import Video
from semblance.manifests.splits import COLUMNS

_USES: Final = {"val": "validated", "test": "tested"}
_ROOM: Final = (0.6, 0.2, 0.2)  # shares that give small collections larger val and test
_BY_FAMILY: Final = ("family", "identity")


def lopsided(plan: Plan) -> str | None:
    """What cannot be done with a val or test without reals or without fakes, and what to do; None if both have both."""
    videos = [video for video in plan.videos if video.label is not None and video.fault is None]
    shares = dict(zip(("train", "val", "test"), plan.recipe.split.fractions or (1, 1, 1), strict=True))
    wanted = [split for split in _USES if shares[split]]
    faults = {split: missing for split in wanted if (missing := _missing(videos, lambda video: video.split, split))}
    if not faults:
        return None
    names = " and ".join(faults)
    uses = " or ".join(_USES[split] for split in faults)
    what = "; ".join(f"{split} has no {' and no '.join(kinds)}" for split, kinds in faults.items())
    return (
        f"{what} (protocol {plan.protocol}), so no detector can be {uses} on {names}: {_remedy(plan, videos, wanted)}."
    )


def _remedy(plan: Plan, videos: list[Video], wanted: list[str]) -> str:
    """What applies: videos of the missing label, another protocol, larger shares, more families."""
    if absent := [kind for label, kind in enumerate(("reals", "fakes")) if label not in {one.label for one in videos}]:
        return f"the collection has no {absent[0]}; add some"
    ways = []
    for name in COLUMNS:
        splits = ("train", *wanted)
        if name != plan.protocol and not any(_missing(videos, _column(name), split) for split in splits):
            ways.append(f"choose another protocol with --set split.protocol={name}")
            break
    if plan.protocol in _BY_FAMILY:
        families = len({video.family_id for video in videos})
        shares = plan.recipe.split.fractions
        if families > len(wanted) and shares is not None and max(shares[1:]) < max(_ROOM[1:]):
            ways.append(f"give val and test larger shares with --set split.fractions={list(_ROOM)}".replace(", ", ","))
        ways.append(
            f"add videos of other people (there {'is 1 family' if families == 1 else f'are {families} families'})"
        )
    elif plan.protocol == "official" or plan.protocol == "official_clean":
        ways.append("add the missing videos to these splits")
    return ", or ".join(ways) or "add videos, or choose another protocol with --set split.protocol=family"


def _column(name: str) -> Callable[[Video], str | None]:
    def split(video: Video) -> str | None:
        found: str | None = getattr(video, f"split_{name}")
        return found

    return split


def _missing(videos: list[Video], split_of: Callable[[Video], str | None], split: str) -> list[str]:
    """The labels that ``split`` has no video of."""
    labels = {video.label for video in videos if split_of(video) == split}
    return [kind for label, kind in enumerate(("real", "fake")) if label not in labels]
