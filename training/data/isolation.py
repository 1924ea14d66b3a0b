"""Nothing selects, stops or schedules a run that it is trained on: checked over all its builds together, and kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import polars as pl

from semblance.manifests.errors import SemblanceError
from semblance.quality.builds import Audited
from semblance.training.data.query import Selection
from semblance.training.data.splits import TrainingData
from semblance.training.guard import crops, ids, leaks, seen
from semblance.training.guard.leaks import COPY, Leak
from semblance.training.guard.seen import Role, Seen

_ALLOWED: Final = "allowed with"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Build:
    """A build of a run: its record in datasets.json, plan, what its videos hold, by role, and what is kept of train."""

    record: Mapping[str, Any]
    audited: Audited
    train: pl.DataFrame
    val: pl.DataFrame
    trained: Seen

    @property
    def learned(self) -> bool:
        return bool(self.record["role"] == "train")

    @property
    def out(self) -> str:
        return self.audited.name

    @property
    def kept_apart(self) -> frozenset[str]:
        return frozenset(self.record["promises"])

    @property
    def lineage(self) -> frozenset[str]:
        return frozenset(self.record["lineage"])


def isolate(
    data: TrainingData,
    *,
    inherited: Seen | None = None,
    allow_leaks: bool = False,
    allow_other_crops: bool = False,
) -> TrainingData:
    """``data`` with the record of what the run will have ``seen``, and with ``warnings`` on what is only named.

    Refused are, between train of any build and val of any other or the same: a shared video or family, people and
    recordings that the protocol of either build keeps apart, and copies of videos under other ids; also crops
    that are cut otherwise. ``inherited`` is the record of the run that its weights are from. Raises SemblanceError for
    what is refused and not allowed.
    """
    parts = [_build(data, record) for record in data.datasets]
    found = [*_shared(parts), *_inherited(parts, inherited)]
    refused = [leak for leak in found if leak.refused]
    if refused and not allow_leaks:
        raise SemblanceError(
            f"{refused[0]}{more(len(refused))}, so the run would be selected on what it learns; name builds with one "
            "split between them (`shards repack`, or another --set data.split_column), or pass --allow-leaks."
        )
    cut = _cut(parts)
    if cut and not allow_other_crops:
        raise SemblanceError(
            f"{cut[0]}{more(len(cut))}; a detector can tell the builds apart by that, and with it real from fake where "
            "their shares differ. Build them by one recipe, or pass --allow-other-crops."
        )
    told = [f"{_ALLOWED} --allow-leaks: {leak}" for leak in refused]
    told += [f"{_ALLOWED} --allow-other-crops: {difference}" for difference in cut]
    named = [f"not promised by the split: {leak}" for leak in found if not leak.refused]
    return replace(
        data,
        datasets=tuple(dict(part.record) for part in parts),
        seen=seen.union([inherited, *_records(data, parts)], told),
        warnings=tuple(dict.fromkeys([*told, *named, *_reported(parts), *(inherited.notes if inherited else ())])),
    )


def allowed(before: Seen | None, option: str) -> bool:
    """Whether a run went on with what it shares when it began, by this option."""
    return before is not None and any(note.startswith(f"{_ALLOWED} {option}") for note in before.notes)


def records(role: Role, selection: Selection) -> list[Seen]:
    """What is kept of the pictures of a selection, build by build."""
    found = []
    for out in selection.outs:
        pictures = of_source(selection, out)
        held = ids.held(ids.read(out), pictures["video_id"].unique())
        found.append(seen.record(role, held, pictures["sample_id"].unique()))
    return found


def of_source(selection: Selection, out: str) -> pl.DataFrame:
    """The pictures of one build of a selection."""
    return selection.pictures.filter(pl.col("source") == selection.outs.index(out))


def more(count: int) -> str:
    """How many findings there are besides the one that is told."""
    return f" ({count - 1} more finding{'s' if count > 2 else ''})" if count > 1 else ""


def _build(data: TrainingData, known: Mapping[str, Any]) -> _Build:
    out = str(known["out"])
    audited = ids.read(out)
    learned = known["role"] == "train"
    val = (data.val if learned else data.others)[known["name"]].pictures["video_id"].unique()
    pictures = of_source(data.train, out) if learned else data.train.pictures.clear()
    train = ids.held(audited, pictures["video_id"].unique())
    described = {
        "lineage": sorted(leaks.lineage(audited.description)),
        "promises": sorted(leaks.promises(audited, str(known["split_column"]))),
        "by_authors": crops.by_authors(audited.plan),
    }
    return _Build(
        record=dict(known) | described,
        audited=audited,
        train=train,
        val=ids.held(audited, val),
        trained=seen.record("trained", train, pictures["sample_id"].unique()),
    )


def _records(data: TrainingData, parts: Sequence[_Build]) -> Iterator[Seen]:
    for part in parts:
        if part.learned:
            yield part.trained
            yield seen.record("selected", part.val, data.val[part.record["name"]].pictures["sample_id"].unique())


def _shared(parts: Sequence[_Build]) -> Iterator[Leak]:
    for one in (part for part in parts if part.learned):
        for other in (part for part in parts if part.learned):
            yield from _between(one, other)


def _between(one: _Build, other: _Build) -> Iterator[Leak]:
    """What ``one`` trains on and ``other`` selects on: one protocol decides within a build, either between two."""
    always = ("video",) if one is other else leaks.ALWAYS
    copies = () if one.lineage & other.lineage else (COPY,)
    where = "itself" if one is other else one.out
    return leaks.find(
        one.trained.of("trained"),
        other.val,
        judged=f"val of {other.out}",
        seen=f"in train of {where} too",
        refused={*always, *one.kept_apart, *other.kept_apart, *copies},
    )


def _inherited(parts: Sequence[_Build], inherited: Seen | None) -> Iterator[Leak]:
    """What the weights were trained on and a build selects on; within a collection seen before, its split decides."""
    for part in parts:
        if not part.learned or inherited is None:
            continue
        own = pl.concat([part.train, part.val]).filter(pl.col("kind") == "video")
        again = not own.join(inherited.ids, on=["kind", "hash"], how="semi").is_empty()
        yield from leaks.find(
            inherited.of("trained"),
            part.val,
            judged=f"val of {part.out}",
            seen="trained on by the run that the weights are from",
            refused={*(("video",) if again else (*leaks.ALWAYS, COPY)), *part.kept_apart},
        )


def _reported(parts: Sequence[_Build]) -> Iterator[str]:
    """What the reported builds share with train: it decides nothing, but their figures are too good."""
    for one in (part for part in parts if part.learned):
        for other in (part for part in parts if not part.learned):
            for leak in _between(one, other):
                yield f"figures of {other.record['name']} are too good: {leak}"


def _cut(parts: Sequence[_Build]) -> list[str]:
    """The builds whose crops are cut otherwise than in the first: by another recipe, or by the dataset's authors."""
    first = parts[0]
    recipes = [recipe] if (recipe := first.record.get("recipe")) else []
    found = []
    for part in parts[1:]:
        found += crops.told(part.out, part.record.get("recipe"), first.out, recipes)
        if part.record["by_authors"] != first.record["by_authors"]:
            cut, other = (first, part) if first.record["by_authors"] else (part, first)
            found.append(f"Faces of {cut.out} were cut by the dataset's authors, and those of {other.out} by a recipe")
    return found
