"""How the demo's casts and donors were chosen: run it to print ``CASTS`` of ``ingest/demo.py``."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from semblance.ingest.demo import dataset
from semblance.ingest.demo.people import Person, forge, make_person
from semblance.ingest.detector.door import DetectConfig, Detector
from semblance.ingest.steps import crops
from semblance.manifests.records import Face, Frame, Image
from semblance.quality import measures

# Candidates for two in one frame, by hand: the first three that fit are taken.
PAIRS = ((114, 118), (85, 91), (94, 202), (126, 162), (0, 12), (18, 33), (1, 55), (20, 79))
DONORS = (0, 1, 4, 11, 12, 18, 20, 33, 50, 55, 57, 79, 85, 91, 94, 118, 126, 162, 169, 202, 277)
INDICES = (*range(0, 36, 3), 35)
FAMILIES, TWOSOMES = 29, 5  # more than needed: those without two good donors fall out
APART = 13  # bits between a fake and every other family
ALTERED = 16  # grey levels that a forgery must change: encoding alone changes about 1.5


def hashes(images: list[Image], faces: list[list[Face]]) -> list[int]:
    """The perceptual hashes of all faces' crops; none where one of them is too soft, dark or bright."""
    found = []
    for image, ours in zip(images, faces, strict=True):
        for face in ours:
            probe = crops.cut(Frame(index=0, time_s=0, image=image), face, crops.CropConfig()).probe
            grey = measures.grey(probe)
            if measures.blur(grey) < 90 or not 0.37 < measures.brightness(grey) < 0.78:
                return []
            found.append(measures.phash(probe))
    return found


def altered(images: list[Image], plain: list[Image], faces: list[list[Face]]) -> float:
    """How much a forgery changes the face it changes most, in the frame where that is least: grey levels."""
    least = []
    for image, original, found in zip(images, plain, faces, strict=True):
        difference = measures.absolute_difference(image, original)
        peaks = []
        for face in found:
            x0, y0, x1, y1 = (max(round(value), 0) for value in face.box)
            peaks.append(np.percentile(measures.block_means(difference[y0:y1, x0:x1], 12), 95))
        least.append(max(peaks))
    return float(min(least))


def distance(ours: list[int], theirs: list[int]) -> int:
    """The fewest bits between any two."""
    table = np.bitwise_xor.outer(np.array(ours, np.uint64), np.array(theirs, np.uint64))
    return int(np.bitwise_count(table).min())


def main(least: int = 16) -> None:
    """Keep casts in order whose originals are ``least`` bits apart; give each the two farthest donors."""
    detector = Detector(DetectConfig())
    pool: dict[tuple[int, ...], list[int]] = {}
    seen: dict[tuple[int, ...], list[list[Face]]] = {}

    def faces_of(images: list[Image], count: int) -> list[list[Face]]:
        faces = []
        for image in images:
            found = detector.find(image)
            if len(found) != count or found[-1].confidence < 0.985:
                return []
            faces.append(found)
        return faces

    def played(people: list[Person], cast: tuple[int, ...]) -> list[Image]:
        return [dataset.scene_frame(people, cast, index) for index in INDICES]

    for cast in (*PAIRS, *((one,) for one in range(400))):
        taken = {one for other in pool for one in other}
        if taken & set(cast) or (len(cast) == 2 and len(pool) == TWOSOMES):
            continue
        images = played([make_person(one) for one in cast], cast)
        faces = faces_of(images, len(cast))
        found = hashes(images, faces) if faces else []
        if found and all(distance(found, one) >= least for one in pool.values()):
            pool[cast], seen[cast] = found, faces
            print("kept", cast, flush=True)
        if len(pool) == FAMILIES:
            break
    for cast in seen:
        chosen: list[tuple[int, int]] = []
        own: list[int] = []
        people = [make_person(one) for one in cast]
        rivals = [one for other, one in pool.items() if other != cast]
        plain = played(people, cast)
        for number in range(2):
            place, fits = number % len(cast), []
            for donor in sorted(set(DONORS) - set(cast) - {one for _, one in chosen}):
                forged = [*people[:place], forge(people[place], make_person(donor)), *people[place + 1 :]]
                images = played(forged, cast)
                found = hashes(images, seen[cast])
                if found and altered(images, plain, seen[cast]) >= ALTERED:
                    fits.append((-min(distance(found, one) for one in rivals), donor, images))
            for bits, donor, images in sorted(fits, key=lambda fit: fit[:2]):
                faces = faces_of(images, len(cast)) if -bits >= APART else []
                found = hashes(images, faces) if faces else []
                if found and min(distance(found, one) for one in rivals) >= APART:
                    chosen.append((place, donor))
                    own += found
                    break
        if len(chosen) == 2:
            pool[cast] = pool[cast] + own
            print(f"    ({cast}, {tuple(chosen)}),", flush=True)
        else:
            del pool[cast]
            print("dropped", cast, flush=True)
    print(len(pool), "least", min(distance(pool[a], pool[b]) for a, b in combinations(pool, 2)))


if __name__ == "__main__":
    main()
