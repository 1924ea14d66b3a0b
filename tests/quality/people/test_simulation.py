"""A collection of simulated people, some clips of whom are hard: what leaks with and without abstention."""

from __future__ import annotations

import numpy as np
import pytest

from semblance.manifests.errors import SemblanceError
from semblance.quality.people import clusters
from semblance.quality.people.calibration import leaking
from semblance.quality.people.clusters import NOBODY, Points, cluster
from tests.quality.people import simulated

PEOPLE, CLIPS = 100, 2000


def points(made: simulated.Crowd) -> Points:
    vectors, centred = clusters.centred(made.vectors, simulated.DISTANCES.raw)
    assert centred
    count = len(vectors)
    return Points(
        vector_ND=vectors,
        clips_N=np.ones(count, np.int64),
        known=[None] * count,
        apart_K2=np.zeros((0, 2), np.int64),
    )


def test_small_clusters_that_abstain_end_the_leak() -> None:
    """15 % of clips are so hard that clusters alone split most people; with abstention nothing leaks, and little is
    lost: what is lost are hard clips.
    """
    made = simulated.crowd(PEOPLE, CLIPS, 0.15, seed=0, bad=1.3)
    found = points(made)
    truth = [str(who) for who in made.who]
    alone = cluster(found, simulated.DISTANCES, 1)
    apart = simulated.DISTANCES.model_copy(update={"quarantine": 1e-6})  # clusters alone, no clip held back
    assert leaking(found, alone, truth, apart).share > 0.4
    whole = cluster(found, simulated.DISTANCES, 4)
    leak = leaking(found, whole, truth, simulated.DISTANCES)
    assert leak.share == 0
    assert 0 < leak.lost < 0.02
    assert made.hard[whole.label_N == NOBODY].all()
    assert len(whole.mean_CD) == PEOPLE


def test_nobody_abstains_where_a_person_has_one_clip() -> None:
    """As in FF++: all clusters are small, so that to leave them out would leave nobody."""
    made = simulated.crowd(200, 200, 0.0, seed=1)
    single = simulated.Crowd(
        who=np.unique(made.who),
        hard=made.hard,
        vectors=made.vectors[np.unique(made.who, return_index=True)[1]],
        halves=made.halves,
    )
    found = cluster(points(single), simulated.DISTANCES, 4)
    assert not found.small
    assert (found.label_N != NOBODY).all()
    assert len(found.mean_CD) == len(single.who)


def test_two_people_of_one_video_never_join_even_through_a_third() -> None:
    """Both resemble a large cluster; one of them joins it, the nearer one."""
    base = np.eye(4)
    near, far = base[0] + 0.75 * base[1], base[0] + 0.85 * base[2]
    vectors = np.array([*[base[0]] * 20, near, far])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cuts = simulated.DISTANCES.model_copy(update={"linkage": 0.1})
    for order in (np.arange(22), np.arange(22)[::-1]):
        place = {int(n): i for i, n in enumerate(order)}
        pair = np.array([sorted((place[20], place[21]))])
        found = cluster(
            Points(vector_ND=vectors[order], clips_N=np.ones(22, np.int64), known=[None] * 22, apart_K2=pair),
            cuts,
            4,
        )
        assert found.how[place[20]] == "attached"
        assert found.how[place[21]] == "abstained"
    free = Points(
        vector_ND=vectors, clips_N=np.ones(22, np.int64), known=[None] * 22, apart_K2=np.zeros((0, 2), np.int64)
    )
    assert cluster(free, cuts, 4).how[20:] == ["attached", "attached"]


def test_one_person_alone_is_one_person() -> None:
    """The mean of one person's clips is that person: what is left after centring would be noise."""
    made = simulated.crowd(1, 40, 0.0, seed=2, easy=0.2)
    vectors, centred = clusters.centred(made.vectors, simulated.DISTANCES.raw)
    assert not centred
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)


def test_too_many_faces_for_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Little:
        available = 1000

    monkeypatch.setattr("psutil.virtual_memory", Little)
    with pytest.raises(SemblanceError, match=r"2,000 faces need 0\.\d GiB to be clustered"):
        cluster(points(simulated.crowd(PEOPLE, CLIPS, 0.0, seed=0)), simulated.DISTANCES, 4)


def test_a_clip_between_two_people_is_near_the_other() -> None:
    """It belongs to the first and lists the second, unless it is known to be nobody of the second."""
    base = np.eye(3)
    between = 0.8 * base[0] + 0.6 * base[1]  # 0.2 and 0.4 away
    vectors = np.array([*[base[0]] * 5, *[base[1]] * 5, *[base[2]] * 5, between])
    cuts = simulated.DISTANCES.model_copy(update={"linkage": 0.3, "quarantine": 0.45})
    for known, expected in (([None] * 16, [1]), ([None] * 5 + ["b"] * 5 + [None] * 5 + ["a"], [])):
        found = Points(
            vector_ND=vectors, clips_N=np.ones(16, np.int64), known=known, apart_K2=np.zeros((0, 2), np.int64)
        )
        grouped = cluster(found, cuts, 4)
        label = grouped.label_N
        assert label[15] == label[0]
        close = clusters.near(found, grouped, cuts.quarantine, clusters.known_apart(found, grouped))
        assert close[15] == [int(label[5])] * len(expected)
        assert all(close[n] == [] for n in range(5, 15))
