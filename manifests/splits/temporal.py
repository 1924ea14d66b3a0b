"""Protocol ``temporal``: the oldest families in train, the newest in test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction
from typing import Final

from semblance.manifests.records import TRAIN_VAL_TEST
from semblance.manifests.splits.identity_graph import Row
from semblance.manifests.splits.protocols import Outcome, SplitOf, counts, unavailable

DATED: Final = 0.95  # least share of videos with a date for a meaningful split by time


def temporal(rows: Sequence[Row], shares: Sequence[float]) -> Outcome:
    """Oldest families in train, newest in test. A family has its original's date; one date is in one split."""
    dates: dict[str, tuple[int, datetime]] = {}
    for row in rows:
        if (when := parse_date(row["date"])) is not None:
            key = (row["label"], when)
            dates[row["family_id"]] = min(dates.get(row["family_id"], key), key)
    if not dates:
        return unavailable("no video has a date")
    known = sum(counts(row) for row in rows if row["family_id"] in dates)
    total = sum(counts(row) for row in rows)
    if known < DATED * total:
        return unavailable(f"only {known} of {total} videos have a date or an original with one")
    sizes: defaultdict[datetime, int] = defaultdict(int)
    for row in rows:
        if row["family_id"] in dates:
            sizes[dates[row["family_id"]][1]] += counts(row)
    if len(sizes) < sum(share > 0 for share in shares):
        return unavailable(f"there are only {len(sizes)} different dates")
    split_of_date = _along([(when, sizes[when]) for when in sorted(sizes)], shares)
    notes = {row["video_id"]: "no date" for row in rows if row["family_id"] not in dates}
    splits: SplitOf = {
        row["video_id"]: split_of_date[dates[row["family_id"]][1]] if row["family_id"] in dates else None
        for row in rows
    }
    begins = {
        split: min(when for when in split_of_date if split_of_date[when] == split) for split in split_of_date.values()
    }
    fact = f"temporal split; first dates: {', '.join(f'{split} {when:%Y-%m-%d}' for split, when in begins.items())}"
    return Outcome(splits=splits, notes=notes, facts=[fact])


def parse_date(text: str | None) -> datetime | None:
    """An ISO 8601 date or time without its time zone; None if it is neither."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        return None


def _along(sizes: Sequence[tuple[datetime, int]], shares: Sequence[float]) -> dict[datetime, str]:
    """Consecutive runs of dates, one for each split with a share, nearest to the shares; none is empty."""
    splits = [(split, Fraction(str(share))) for split, share in zip(TRAIN_VAL_TEST, shares, strict=True) if share > 0]
    total = sum(size for _, size in sizes)
    sums = [0]
    for _, size in sizes:
        sums.append(sums[-1] + size)
    cuts, target = [0], Fraction(0)
    for number, (_, share) in enumerate(splits[:-1]):
        target += share * total
        room = range(cuts[-1] + 1, len(sizes) - (len(splits) - 2 - number))
        cuts.append(min(room, key=lambda cut, target=target: (abs(sums[cut] - target), cut)))  # type: ignore[misc]
    cuts.append(len(sizes))
    runs = zip(splits, cuts[:-1], cuts[1:], strict=True)
    return {when: split for (split, _), start, end in runs for when, _ in sizes[start:end]}
