"""How the demo's casts and donors were chosen: run it to print ``CASTS`` of ``ingest/demo/dataset.py``."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from semblance.ingest.demo import dataset
from semblance.ingest.demo.people import Person, forge, make_person
from semblance.ingest.detector.door import DetectConfig, Detector
from semblance.ingest.steps import crops
from semblance.manifests.records import Face, Frame, Image
from semblance.quality import measures

# Candidate pairs for one frame, chosen by hand: the first that fit are used.
PAIRS = ((114, 118), (85, 91), (94, 202), (126, 162), (0, 12), (18, 33), (1, 55), (20, 79))
DONORS = (0, 1, 4, 11, 12, 18, 20, 33, 50, 55, 57, 79, 85, 91, 94, 118, 126, 162, 169, 202, 277)
INDICES = (*range(0, 36, 3), 35)
FAMILIES, TWOSOMES = 29, 5  # more than needed: families without two good donors are dropped
APART = 13  # bits between a fake and every other family
ALTERED = 16  # grey levels that a forgery must change: encoding alone changes about 1.5


def hashes(images: list[Image], faces: list[list[Face]]) -> list[int]:
    """The perceptual hashes of all faces' crops; none if one of them is too blurred, dark or bright."""
    values = []
    for image, in_image in zip(images, faces, strict=True):
        for face in in_image:
            probe = crops.cut(Frame(index=0, time_s=0, image=image), face, crops.CropConfig()).probe
            grey = measures.grey(probe)
            if measures.blur(grey) < 90 or not 0.37 < measures.brightness(grey) < 0.78:
                return []
            values.append(measures.phash(probe))
    return values


def altered(images: list[Image], plain: list[Image], faces: list[list[Face]]) -> float:
    """The change of the most changed face, in the frame where it is smallest, in grey levels."""
    least = []
    for image, original, in_image in zip(images, plain, faces, strict=True):
        difference = measures.absolute_difference(image, original)
        peaks = []
        for face in in_image:
            x0, y0, x1, y1 = (max(round(value), 0) for value in face.box)
            peaks.append(np.percentile(measures.block_means(difference[y0:y1, x0:x1], 12), 95))
        least.append(max(peaks))
    return float(min(least))


def distance(left: list[int], right: list[int]) -> int:
    """The smallest number of differing bits between two hashes."""
    table = np.bitwise_xor.outer(np.array(left, np.uint64), np.array(right, np.uint64))
    return int(np.bitwise_count(table).min())


def main(least: int = 16) -> None:
    """Keep casts whose originals differ by ``least`` bits, in order; give each the two most distant donors."""
    detector = Detector(DetectConfig())
    pool: dict[tuple[int, ...], list[int]] = {}
    seen: dict[tuple[int, ...], list[list[Face]]] = {}

    def faces_of(images: list[Image], count: int) -> list[list[Face]]:
        faces = []
        for image in images:
            in_image = detector.find(image)
            if len(in_image) != count or in_image[-1].confidence < 0.985:
                return []
            faces.append(in_image)
        return faces

    def scenes(people: list[Person], cast: tuple[int, ...]) -> list[Image]:
        return [dataset.scene_frame(people, cast, index) for index in INDICES]

    for cast in (*PAIRS, *((seed,) for seed in range(400))):
        used = {seed for cast_in_pool in pool for seed in cast_in_pool}
        if used & set(cast) or (len(cast) == 2 and len(pool) == TWOSOMES):
            continue
        images = scenes([make_person(seed) for seed in cast], cast)
        faces = faces_of(images, len(cast))
        values = hashes(images, faces) if faces else []
        if values and all(distance(values, other) >= least for other in pool.values()):
            pool[cast], seen[cast] = values, faces
            print("kept", cast, flush=True)
        if len(pool) == FAMILIES:
            break
    for cast in seen:
        donors: list[tuple[int, int]] = []
        fake_hashes: list[int] = []
        people = [make_person(seed) for seed in cast]
        rivals = [values for other, values in pool.items() if other != cast]
        plain = scenes(people, cast)
        for number in range(2):
            place, fits = number % len(cast), []
            for donor in sorted(set(DONORS) - set(cast) - {donor for _, donor in donors}):
                forged = [*people[:place], forge(people[place], make_person(donor)), *people[place + 1 :]]
                images = scenes(forged, cast)
                values = hashes(images, seen[cast])
                if values and altered(images, plain, seen[cast]) >= ALTERED:
                    fits.append((-min(distance(values, rival) for rival in rivals), donor, images))
            for bits, donor, images in sorted(fits, key=lambda fit: fit[:2]):
                faces = faces_of(images, len(cast)) if -bits >= APART else []
                values = hashes(images, faces) if faces else []
                if values and min(distance(values, rival) for rival in rivals) >= APART:
                    donors.append((place, donor))
                    fake_hashes += values
                    break
        if len(donors) == 2:
            pool[cast] = pool[cast] + fake_hashes
            print(f"    ({cast}, {tuple(donors)}),", flush=True)
        else:
            del pool[cast]
            print("dropped", cast, flush=True)
    print(len(pool), "smallest distance", min(distance(pool[a], pool[b]) for a, b in combinations(pool, 2)))


if __name__ == "__main__":
    main()
