"""Estimated people in sentences, for the console."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from semblance.manifests.persons import FEW

_BY: Final = {
    "user": "as given",
    "collection": "linkage taken from pairs of two people in this collection",
    "embedder": "the embedder's defaults",
}
_KIND: Final = {"ids": "people", "recordings": "recordings", "halves": "faces"}


def lines(about: Mapping[str, Any]) -> Iterator[str]:
    """What was estimated, how, and how far to trust it."""
    counts, cuts, weights = about["counts"], about["thresholds"], about["weights"]
    yield (
        f"ESTIMATED from faces by {about['embedder']} ({weights['file']}, sha256 {weights['sha256'][:12]}, licence "
        f"{weights['licence']}); aligned: {about['alignment']}"
    )
    yield (
        f"{counts['people']:,} people in {counts['videos']:,} videos: {counts['crops_embedded']:,} crops of "
        f"{counts['faces_embedded']:,} faces in reals, {counts['clusters']:,} clusters"
    )
    yield (
        f"  known {counts['known']:,}, by cluster {counts['cluster']:,}, attached {counts['attached']:,}, from the "
        f"original {counts['original']:,}; without a person: abstained {counts['abstained']:,}, no face "
        f"{counts['no_face']:,}, unknown original {counts['unknown_original']:,}"
    )
    yield f"  unknown donors: {counts['unknown_donors']:,} of {counts['fakes']:,} fakes"
    yield f"  near another person: {counts['near_another']:,} (kept out of the other splits by person_estimated)"
    for key, what in (("crops_without_landmarks", "have no landmarks"), ("crops_unreadable", "cannot be read")):
        if counts[key]:
            yield f"  {counts[key]:,} crops {what}"
    centred = "" if about["centred"] else "; not centred: too few people, so take this as a hint only"
    small = "join a large one or abstain" if cuts["small_clusters_abstain"] else "stay, since few are larger"
    yield (
        f"cosine distances: linkage {cuts['linkage']:.2f}, attach {cuts['attach']:.2f}, quarantine "
        f"{cuts['quarantine']:.2f} ({_BY[cuts['by']]}){centred}; clusters of fewer than {cuts['least_clips']} clips "
        f"{small}"
    )
    yield from _calibration(about["calibration"])
    yield _present(about["leaking_share"])


def _present(share: Mapping[str, Any] | None) -> str:
    if share is None:
        return "present split: no test clip has an estimated person"
    return (
        f"present split: {_percent(share['share'])}{_interval(share, share['tests'])} of {share['tests']:,} test clips "
        "have their estimated person in train or val"
    )


def _calibration(found: Mapping[str, Any] | None) -> Iterator[str]:
    if found is None:
        yield "calibration: none; no person is known, and no face has two crops"
        return
    yield f"calibration on {found['clips']:,} clips of {found['people']:,} {_KIND[found['truth']]} ({found['why']}):"
    yield (
        f"  pairs: {_rate(found['missed'], found['same'], 'of one person are missed')}, "
        f"{_rate(found['false'], found['different'], 'of two people are joined')}"
    )
    whole = f"  clusters: {_percent(found['whole'])} of the {_KIND[found['truth']]} are each in one cluster"
    pure = found["pure"]
    yield whole if pure is None else f"{whole}; {_percent(pure)} of the clips are in a cluster of their own person"
    leak = found["leak"]
    doubt = " (optimistic)" if found["optimistic"] else ""
    yield (
        f"  a split by estimated people: {_percent(leak['share'])}{_interval(leak, found['people'])} of test clips "
        f"leak{doubt}, {_percent(leak['lost'])} of clips are left out"
    )


def _rate(rate: float | None, count: int, what: str) -> str:
    return f"no pairs {what.split(' are ')[0]}" if rate is None else f"{_percent(rate)} of {count:,} {what}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _interval(found: Mapping[str, Any], counted: int) -> str:
    """The interval; none of so few people or clips that it would look surer than the share is."""
    if found["low"] is None or counted < FEW:
        return " (too few to say how sure)"
    return f" [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"
