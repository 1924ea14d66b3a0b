"""Runs under attack: every picture of a fixed slice is changed within a strength, so that it misleads the run.

An ensemble is attacked as a whole, by its combined logit, mirror images included, less val's threshold by frame. So an
attack succeeds where the decision of the evaluation changes.

B: batch, C: colours, H, W: pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl
import torch
from torch import Tensor

from semblance.manifests.errors import UsageError
from semblance.training import attacks
from semblance.training.attacks import ATTACKS, LADDER, Attack, Target
from semblance.training.evaluation import evidence, networks, strikes
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.evaluation.evidence import Evidence
from semblance.training.evaluation.strikes import ANSWERS, Strike, Transferred
from semblance.training.inference.predictor import Predictor
from semblance.training.records import Batch

PICTURES: Final = 256
QUICK: Final = (
    "Attacks were made with the few iterations that they have in training (--quick-attacks): stronger ones succeed "
    "more often, so robust accuracy is too good."
)
_LEVELS: Final = 255  # grey levels over 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which attacks are made, at which strengths, and on how many pictures.

    ``quick``: with the few iterations that attacks have in training. ``changes``: other settings, by attack.
    Raises UsageError for an unknown attack, or a strength that is not in (0, 1].
    """

    names: tuple[str, ...]
    strengths: tuple[float, ...] = LADDER
    pictures: int = PICTURES
    quick: bool = False
    seed: int = 0
    changes: Mapping[str, Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        if not self.names:
            raise UsageError(f"--attacks names no attack; choose from {', '.join(ATTACKS)}.")
        for name in self.names:
            ATTACKS.find(name)
        if wrong := [value for value in self.strengths if not 0 < value <= 1]:
            raise UsageError(
                f"--strengths {wrong[0]:g} is not in (0, 1]; pictures have values from 0 to 1, and 4/255 is four grey "
                "levels."
            )
        if not self.strengths:
            raise UsageError("--strengths names no strength; write e.g. 1/255,4/255.")
        if self.pictures < 2:
            raise UsageError(f"--attack-pictures {self.pictures} is too few; judge at least 2, one of each class.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An attack at a strength; None: it looks for the nearest picture, however far."""

    name: str
    strength: float | None
    attack: Attack


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attacked:
    """What attacks came to. ``pictures``: those of the slice. ``masked``: where gradients are hidden, in sentences.

    ``answers``: the logit of every attacked picture, as ``strikes.ANSWERS`` says.
    """

    options: Options
    pictures: int
    strikes: tuple[Strike, ...]
    transferred: tuple[Transferred, ...]
    evidence: tuple[Evidence, ...]
    masked: tuple[str, ...]
    notes: tuple[str, ...]
    answers: pl.DataFrame


def parse(names: str, strengths: str | None = None) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Names and strengths as a command takes them: separated by commas, a strength also as a fraction, 4/255.

    Raises UsageError for a strength that is no number.
    """
    found = tuple(dict.fromkeys(part.strip() for part in names.split(",") if part.strip()))
    if strengths is None:
        return found, LADDER
    parts = [part.strip() for part in strengths.split(",") if part.strip()]
    return found, tuple(sorted({_number(part) for part in parts}))


def _number(text: str) -> float:
    above, slash, below = text.partition("/")
    try:
        return float(above) / float(below) if slash else float(above)
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(f"--strengths {text!r} is no number; write e.g. 0.03 or 4/255.") from error


def jobs(options: Options) -> list[Job]:
    """Every attack at every strength; one without a strength once."""
    found = []
    for name in options.names:
        kind, changes = ATTACKS.find(name), (options.changes or {}).get(name, {})
        make = kind.quick if options.quick else kind.make
        first = make(eps=options.strengths[0], **changes)
        strengths: Sequence[float | None] = (None,) if first.norm == "l2" else options.strengths
        found += [Job(name=name, strength=one, attack=make(eps=one, **changes)) for one in strengths]
    return found


def measure(
    result: Evaluation,
    options: Options,
    *,
    videos: pl.DataFrame | None = None,
    say: Callable[[str], None] = print,
) -> Attacked:
    """Attack every run on a fixed slice of the evaluated pictures, of ``videos`` alone if given.

    What it will cost is said before. Raises UsageError if no run can be attacked.
    """
    able, refused = networks.able(list(result.scorers.values()), "--attacks")
    listed = result.videos if videos is None else videos
    inside = networks.only(result.selection, pl.col("video_id").is_in(listed["video_id"].implode()))
    chosen = networks.sliced(inside, options.pictures)
    asked, pictures = jobs(options), chosen.pictures.height
    for line in [*_costs(able, pictures, asked, options.quick), *refused]:
        say(line)
    label_of = networks.labels(chosen)
    tables = [
        pl.DataFrame(rows, ANSWERS, orient="row")
        for size, predictors in networks.by_side(able).items()
        for batch in networks.batches(chosen, size)
        for rows in [list(_batch(result, predictors, batch, label_of, asked, options.seed))]
    ]
    answers = pl.concat(tables)
    struck = strikes.measure(result, able, chosen, listed, answers)
    crossed = strikes.transferred(able, chosen, answers)
    masked = strikes.masked(struck, crossed)
    shares, without = evidence.measure(result, options.strengths, options.pictures, listed)
    for line in masked:
        say(f"warning: {line}")
    return Attacked(
        options=options,
        pictures=pictures,
        strikes=tuple(struck),
        transferred=tuple(crossed),
        evidence=tuple(shares),
        masked=tuple(masked),
        notes=(*refused, *([QUICK] if options.quick else []), *_sizes(able), *without),
        answers=answers,
    )


def _costs(able: Mapping[str, Predictor], pictures: int, asked: Sequence[Job], quick: bool) -> Iterator[str]:
    strengths: dict[str, int] = {}
    for job in asked:
        strengths[job.name] = strengths.get(job.name, 0) + 1
    for model, predictor in able.items():
        each = networks.seconds(predictor)
        for name, times in strengths.items():
            kind = ATTACKS.find(name)
            scores = pictures * times * (kind.quick_passes if quick else kind.passes)
            at = f" at {times} strengths" if times > 1 else ""
            yield (
                f"attack {name} on {model}: {pictures} pictures{at}, about {scores * networks.passes(predictor):,} "
                f"passes, {networks.told(scores * each)}"
            )


def _sizes(able: Mapping[str, Predictor]) -> Iterator[str]:
    for name, one in able.items():
        mirrored = "; its mirror images are in the attacked logit" if any(part.mirror for part in one.members) else ""
        yield (
            f"{name} is attacked at {networks.side(one)} px, the size that its network takes: stored crops of another "
            f"size are resized first, and the attack changes what the network sees{mirrored}."
        )


def target(result: Evaluation, predictor: Predictor) -> Target:
    """The combined logit of a run less val's threshold by frame: above 0 is fake, for attacks and certificates."""
    combined, threshold = networks.logits(predictor), result.thresholds[predictor.name]["frame"]
    return Target(lambda image_BCHW: combined(image_BCHW) - threshold, networks.modules(predictor))


def _batch(
    result: Evaluation,
    predictors: Sequence[Predictor],
    batch: Batch,
    label_of: Mapping[str, int],
    asked: Sequence[Job],
    seed: int,
) -> Iterator[tuple[Any, ...]]:
    """The answers to a batch: clean ones, to attacks on each run, and what they do to the other runs."""
    image_BCHW, names = batch.image_BCHW, batch.sample_ids
    target_B = torch.tensor([float(label_of[name]) for name in names], device=image_BCHW.device)
    targets = {one.name: target(result, one) for one in predictors}
    for model, of in targets.items():
        nothing = [0.0] * len(names)
        clean = of(image_BCHW).tolist()
        yield from _rows(names, model, model, None, None, clean, clean, nothing)
    for one in predictors:
        for job in asked:
            generators = attacks.generators(seed, [f"{job.name} {name}" for name in names])
            changed_BCHW = job.attack(targets[one.name], image_BCHW, target_B, generators)
            rounded_BCHW = rounded(changed_BCHW, image_BCHW, job.strength)
            moved = (changed_BCHW - image_BCHW).flatten(1).norm(dim=1).tolist()
            for other in predictors:
                if other is not one and (job.strength is None or _related(one, other)):
                    continue
                pair = [targets[other.name](pictures).tolist() for pictures in (changed_BCHW, rounded_BCHW)]
                yield from _rows(names, other.name, one.name, job.name, job.strength, *pair, moved)


def _related(one: Predictor, other: Predictor) -> bool:
    """Whether two runs share a checkpoint, so that an attack on one is no black-box attack on the other."""
    return bool({member.sha256 for member in one.members} & {member.sha256 for member in other.members})


def _rows(
    names: Sequence[str],
    model: str,
    source: str,
    attack: str | None,
    strength: float | None,
    *columns: Sequence[float],
) -> Iterator[tuple[Any, ...]]:
    for name, *values in zip(names, *columns, strict=True):
        yield (name, model, source, attack, strength, *values)


def rounded(changed_BCHW: Tensor, image_BCHW: Tensor, strength: float | None) -> Tensor:
    """Attacked pictures as 8 bits hold them: the nearest grey levels that are still within the strength.

    ``image_BCHW`` are 8-bit pictures in [0, 1].
    """
    level_BCHW, given_BCHW = (changed_BCHW * _LEVELS).round(), (image_BCHW * _LEVELS).round()
    if strength is not None:
        most = int(strength * _LEVELS + 1e-6)
        level_BCHW = level_BCHW.clamp(given_BCHW - most, given_BCHW + most)
    return level_BCHW.clamp(0, _LEVELS) / _LEVELS
