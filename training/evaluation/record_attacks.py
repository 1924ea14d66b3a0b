"""The objects in an evaluation record that say how a run does under attack, and what is certified."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from semblance.quality.audit.evidence import Part
from semblance.training.evaluation.record_parts import Figure


class Attack(Part):
    """An attack on a run, on a fixed slice of pictures, at val's threshold."""

    model: str = Field(description="name of the run")
    attack: str = Field(description="name of the attack")
    strength: float | None = Field(description="largest change of a value in [0, 1]; null: any, the nearest picture")
    level: Literal["frame", "video"] = Field(description="what is judged; a video by the pictures of it in the slice")
    reals: int = Field(description="reals attacked")
    fakes: int = Field(description="fakes attacked")
    right: int = Field(description="of them, judged rightly without an attack")
    success: Figure = Field(description="share of what was right that the attack turns")
    clean: Figure = Field(description="balanced accuracy without the attack")
    robust: Figure = Field(description="balanced accuracy under it")
    rounded: Figure = Field(description="balanced accuracy where attacked pictures are rounded to 8 bits")
    distance: float | None = Field(description="median L2 length of changes that succeed; null: by video, or none does")


class Transferred(Part):
    """An attack made on another run, so without this one's gradients; by frame."""

    model: str = Field(description="the run that is judged")
    source: str = Field(description="the run that the attack was made on")
    attack: str = Field(description="name of the attack")
    strength: float = Field(description="largest change of a value in [0, 1]")
    right: int = Field(description="faces judged rightly without an attack")
    success: float = Field(description="share of them that is turned")


class Evidence(Part):
    """How much of what tells a fake from its original lies within a strength, from pairs."""

    dataset: str = Field(description="name of the dataset")
    method: str | None = Field(description="method of the fakes; null: not published")
    strength: float = Field(description="largest change of a value in [0, 1]")
    pairs: int = Field(description="fakes with the crop of their original")
    share: float = Field(description="share of the fakes' values that lie within the strength of their original's")
    whole: int = Field(description="pairs of which all values do")


class Point(Part):
    """Certified accuracy at a radius."""

    radius: float = Field(description="L2 length of a change of a picture in [0, 1]")
    balanced: Figure = Field(description="mean over both classes of the share that is right whatever such a change is")
    real: float | None = Field(description="that of reals; null: there are none")
    fake: float | None = Field(description="that of fakes; null: there are none")


class Certificate(Part):
    """Accuracy of a run that randomised smoothing certifies, by frame, on a fixed slice of pictures."""

    model: str = Field(description="name of the run")
    side: int = Field(description="side of the pictures in px, on which radii depend")
    sigma: float = Field(description="standard deviation of the noise")
    samples: int = Field(description="noisy pictures that a share is estimated from")
    alpha: float = Field(description="how often a certificate may be wrong")
    cap: float = Field(description="the largest radius that so many samples can certify")
    covering: float = Field(description="the L2 radius that would cover a change by 0.03 of all values")
    reals: int = Field(description="real faces")
    fakes: int = Field(description="fake faces")
    abstained: int = Field(description="of all, without an answer; they count as wrong")
    trained: float | None = Field(description="sigma of the noise in training; null: trained without noise")
    clean: Figure = Field(description="balanced accuracy without smoothing and noise, on the same faces")
    points: list[Point] = Field(description="accuracy by radius, from 0")
