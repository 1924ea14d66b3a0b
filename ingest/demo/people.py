"""Invented people for the demo: one public-domain photograph, warped, recoloured and relit in many ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from semblance.manifests.records import Image

Floats = NDArray[np.float32]

SIDE: Final = 320  # px of a head patch
CENTRE: Final = (160.0, 150.0)  # of the face in a patch
_FACE: Final = (224.0, 118.0)  # of the face in the photograph
_GROW: Final = 1.15  # patch px per photograph px
_INNER: Final = (50, 64)  # px, half axes of the face region that a forgery replaces


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Person:
    """A head patch (320, 320, 3), its opacity (320, 320), and the background behind it."""

    head: Floats  # 0..255
    opacity: Floats  # 0..1
    background: Floats  # (H, W, 3), larger than a frame: it moves


def make_person(seed: int) -> Person:
    """The person with this seed: the same on every machine with the same library versions."""
    rng = np.random.default_rng(seed)
    head = _warped(rng)
    head = _dressed(_recoloured(head, rng), rng)
    head = _lit(head, rng) + rng.normal(0, 4, head.shape).astype(np.float32)
    return Person(head=np.clip(head, 0, 255), opacity=_opacity(rng), background=background(rng))


def forge(target: Person, donor: Person) -> Person:
    """The target with the donor's inner face, colour-matched and blended in."""
    mask = np.zeros((SIDE, SIDE), np.float32)
    cv2.ellipse(mask, (round(CENTRE[0]), round(CENTRE[1]) + 4), _INNER, 0, 0, 360, 1.0, -1)
    inside = mask > 0
    face = donor.head.copy()
    for channel in range(3):
        old, new = target.head[..., channel][inside], donor.head[..., channel][inside]
        gain = np.clip(old.std() / max(float(new.std()), 1.0), 0.6, 1.6)
        face[..., channel] = (donor.head[..., channel] - new.mean()) * gain + old.mean()
    soft = cv2.GaussianBlur(mask, (0, 0), 5)[..., None]
    head = np.clip(target.head * (1 - soft) + face * soft, 0, 255).astype(np.float32)
    return Person(head=head, opacity=target.opacity, background=target.background)


def render(
    people: list[tuple[Person, tuple[float, float], float]],
    behind: Floats,
    time: float,
    phase: float,
    size: tuple[int, int],
) -> Image:
    """One (H, W, 3) frame at ``time`` 0..1: people as (person, position, scale) in front of a moving background.

    ``behind`` is that background, ``phase`` shifts the motion, ``size`` is (width, height).
    """
    width, height = size
    x = 40 + 24 * np.sin(2 * np.pi * (0.5 * time + phase))
    y = 40 + 20 * np.cos(2 * np.pi * (0.4 * time + phase))
    shift = np.array([[1, 0, -x], [0, 1, -y]], np.float32)
    canvas = cv2.warpAffine(behind, shift, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    for number, (person, (place_x, place_y), scale) in enumerate(people):
        swing = 2 * np.pi * (0.6 * time + phase + 0.37 * number)
        matrix = cv2.getRotationMatrix2D(CENTRE, 2 * np.sin(swing), scale * (1 + 0.02 * np.sin(swing + 1)))
        place = np.array([place_x + 9 * np.sin(swing), place_y + 6 * np.cos(swing)])
        matrix[:, 2] = matrix[:, 2] + place - np.array(CENTRE)
        head = cv2.warpAffine(
            person.head, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        opacity = cv2.warpAffine(person.opacity, matrix, (width, height), flags=cv2.INTER_LINEAR)[..., None]
        canvas = canvas * (1 - opacity) + head * opacity
    image: Image = np.clip(canvas, 0, 255).astype(np.uint8)
    cv2.putText(image, "SYNTHETIC", (6, height - 8), cv2.FONT_HERSHEY_PLAIN, 0.8, (255, 255, 255), 1, cv2.LINE_AA)
    return image


def background(rng: np.random.Generator) -> Floats:
    """A textured background, (460, 600, 3): broad patches of light and dark, and a pattern."""
    coarse = rng.uniform(20, 235, (4, 5, 1)) * rng.uniform(0.6, 1.2, (4, 5, 3))
    field = cv2.resize(coarse.astype(np.float32), (600, 460), interpolation=cv2.INTER_CUBIC)
    rows, columns = np.mgrid[0:460, 0:600].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(18, 60)
    waves = np.sin((columns * np.cos(angle) + rows * np.sin(angle)) * 2 * np.pi / period)
    noise = cv2.GaussianBlur(rng.normal(0, 30, (460, 600)).astype(np.float32), (0, 0), 1.2)
    return np.asarray(np.clip(field + (rng.uniform(8, 30) * waves + noise)[..., None], 0, 255), np.float32)


def _photograph() -> Floats:
    from skimage.data import astronaut  # NASA's portrait of Eileen Collins, public domain; ships in the wheel

    return np.asarray(astronaut(), np.float32)  # type: ignore[no-untyped-call]


def _warped(rng: np.random.Generator) -> Floats:
    """The head, mirrored or not, stretched, tilted and bent."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    x, y = columns - CENTRE[0], rows - CENTRE[1]
    tilt = np.radians(rng.uniform(-10, 10))
    x, y = x * np.cos(tilt) - y * np.sin(tilt), x * np.sin(tilt) + y * np.cos(tilt)
    x, y = x / rng.uniform(0.86, 1.12), y / rng.uniform(0.9, 1.1)
    for value in (x, y):
        value += cv2.resize(rng.normal(0, 5, (6, 6)).astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.5:
        x = -x
    map_x, map_y = (x / _GROW + _FACE[0]).astype(np.float32), (y / _GROW + _FACE[1]).astype(np.float32)
    return cv2.remap(_photograph(), map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[return-value]


def _recoloured(head: Floats, rng: np.random.Generator) -> Floats:
    """Another complexion and another camera."""
    gains = rng.uniform(0.78, 1.12, 3) * rng.uniform(0.8, 1.1)
    gamma = rng.uniform(0.75, 1.3)
    return np.asarray((np.clip(head, 0, 255) / 255) ** gamma * 255 * gains, np.float32)


def _dressed(head: Floats, rng: np.random.Generator) -> Floats:
    """Hair, hat, beard and collar: broad shapes around the face."""
    head = head.copy()
    layer = np.zeros((SIDE, SIDE), np.float32)
    cx, cy = round(CENTRE[0]), round(CENTRE[1])
    style = rng.integers(4)
    if style == 1:  # a hat down to the brow
        cv2.ellipse(layer, (cx, cy - 82), (92, 38), rng.uniform(-8, 8), 0, 360, 1.0, -1)
    elif style == 2:  # hair at both sides
        cv2.ellipse(layer, (cx - 78, cy), (24, 90), 0, 0, 360, 1.0, -1)
        cv2.ellipse(layer, (cx + 78, cy), (24, 90), 0, 0, 360, 1.0, -1)
    elif style == 3:  # a parting to one side
        cv2.ellipse(layer, (cx + int(rng.choice([-60, 60])), cy - 60), (52, 58), 0, 0, 360, 1.0, -1)
    head = _painted(head, layer, rng.uniform(10, 240) * rng.uniform(0.7, 1.1, 3), 4, rng)
    collar = np.zeros((SIDE, SIDE), np.float32)
    cv2.ellipse(collar, (cx + int(rng.integers(-20, 20)), cy + 150), (150, 66), 0, 0, 360, 1.0, -1)
    return _painted(head, collar, rng.uniform(10, 245, 3), 3, rng)


def _painted(head: Floats, layer: Floats, colour: NDArray[np.float64], soft: float, rng: np.random.Generator) -> Floats:
    layer = cv2.GaussianBlur(layer, (0, 0), soft)[..., None]  # type: ignore[assignment]
    texture = cv2.GaussianBlur(rng.normal(0, 60, (SIDE, SIDE, 1)).astype(np.float32), (0, 0), 1.0)[..., None]
    return (head * (1 - layer) + (colour.astype(np.float32) + texture) * layer).astype(np.float32)


def _lit(head: Floats, rng: np.random.Generator) -> Floats:
    """Light from one side."""
    rows, columns = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j].astype(np.float32)
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 0.8)
    plane = 1 + strength * (columns * np.cos(angle) + rows * np.sin(angle)) * 1.3
    return np.asarray(head * np.clip(plane, 0.35, 1.8)[..., None], np.float32)


def _opacity(rng: np.random.Generator) -> Floats:
    """A soft outline of head and shoulders."""
    mask = np.zeros((SIDE, SIDE), np.float32)
    cx, cy = round(CENTRE[0]), round(CENTRE[1])
    cv2.ellipse(mask, (cx, cy - 12), (int(rng.integers(76, 100)), int(rng.integers(100, 124))), 0, 0, 360, 1.0, -1)
    cv2.ellipse(mask, (cx, cy + 170), (int(rng.integers(110, 150)), 96), 0, 0, 360, 1.0, -1)
    return cv2.GaussianBlur(mask, (0, 0), 3)  # type: ignore[return-value]
