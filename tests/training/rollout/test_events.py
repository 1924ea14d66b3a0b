"""Events: nothing is lost without being counted, whatever the store does, and each is read once."""

from __future__ import annotations

import itertools
import random
import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semblance.manifests import storage
from semblance.manifests.errors import StorageError
from semblance.training.rollout import events, history
from semblance.training.rollout.events import Feedback, Log
from semblance.training.rollout.plan import Outcome, RolloutConfig
from tests.training.rollout.made_events import at, request, traffic, write

PLAN = RolloutConfig()


def test_a_row_comes_back_as_it_was(tmp_path: Path) -> None:
    given_one = request(1, uncertainty=0.25, reason="busy", cpu_s=0.01, kind="video")
    write(str(tmp_path), [given_one], [Feedback(id="r1", time=at(1), label=0, satisfied=False)])
    kept = history.scan(str(tmp_path), "requests").collect().row(0, named=True)
    assert kept == {name: getattr(given_one, name) for name in events.SCHEMAS["requests"]}
    row = history.read(str(tmp_path), "one").requests.row(0, named=True)
    assert (row["label"], row["satisfied"], row["labelled"], row["told"]) == (0, False, at(1), at(1))


def test_the_subject_itself_is_nowhere(tmp_path: Path) -> None:
    write(str(tmp_path), [request(1, subject_hash=events.hashed("one", "anna@example.org"))])
    assert not [file for file in tmp_path.rglob("*.parquet") if b"anna" in file.read_bytes()]


def test_several_services_with_several_threads_write_everything_once(tmp_path: Path) -> None:
    logs = [Log(str(tmp_path), rows=7, seconds=0.01) for _ in range(3)]

    def work(worker: int) -> None:
        for number in range(100):
            logs[worker % 3].request(request(1000 * worker + number))
            logs[worker % 3].feedback(Feedback(id=f"r{1000 * worker + number}", time=at(0), label=1))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for log in logs:
        log.close(60)
    past = history.read(str(tmp_path), "one")
    assert past.requests["id"].n_unique() == past.requests.height == 600
    assert past.requests["label"].null_count() == 0
    assert past.unknown == sum(log.dropped for log in logs) == 0


def test_full_batches_are_written_before_the_time_is_over(tmp_path: Path) -> None:
    log = Log(str(tmp_path), rows=2, seconds=600)
    log.request(request(1))
    log.request(request(2))
    waited = threading.Event()
    while log.waiting or not storage.list_names(str(tmp_path / "requests")):
        waited.wait(0.01)  # ends by the test's own limit
    log.close()


def test_a_failing_store_keeps_events_until_it_is_mended(tmp_path: Path) -> None:
    place = tmp_path / "events"
    place.write_text("a file where the folder should be")
    log = Log(str(place), rows=10, seconds=600)
    log.request(request(1))
    log.flush()
    assert (log.waiting, log.dropped, log.failures) == (1, 0, 1)
    place.unlink()
    log.flush()
    assert (log.waiting, log.dropped) == (0, 0)
    assert history.read(str(place), "one").requests["id"].to_list() == ["r1"]
    log.close()


def test_a_store_that_stays_away_costs_events_which_are_counted(tmp_path: Path) -> None:
    place = tmp_path / "events"
    place.write_text("a file where the folder should be")
    log = Log(str(place), rows=2, seconds=600)
    for number in range(1000):
        log.request(request(number))
    log.close()
    assert log.waiting == 0
    assert log.dropped == 1000
    log.request(request(1))  # after the end
    assert log.dropped == 1001


def test_an_event_that_is_none_does_not_hold_up_the_others(tmp_path: Path) -> None:
    log = Log(str(tmp_path), rows=100, seconds=600)
    wrong: Any = request(2, latency_s="soon")
    for one in (request(1), wrong, request(3)):
        log.request(one)
    log.flush()
    assert (log.dropped, log.failures, log.waiting) == (1, 0, 0)
    assert history.read(str(tmp_path), "one").requests["id"].to_list() == ["r1", "r3"]
    log.close()


def test_the_last_word_counts_and_unknown_ids_are_counted(tmp_path: Path) -> None:
    said = [
        Feedback(id="r1", time=at(3), label=1),
        Feedback(id="r1", time=at(1), label=0, satisfied=True),
        Feedback(id="r1", time=at(4), satisfied=False),
        Feedback(id="nobody", time=at(1), label=1),
    ]
    random.Random(0).shuffle(said)
    write(str(tmp_path), [request(1), request(1), request(2)], said)  # a part that was written twice
    past = history.read(str(tmp_path), "one")
    assert past.requests["id"].to_list() == ["r1", "r2"]
    row = past.requests.row(0, named=True)
    assert (row["label"], row["labelled"], row["satisfied"], row["told"]) == (1, at(3), False, at(4))
    assert past.unknown == 1


def test_other_rollouts_and_what_was_not_drawn_are_not_read(tmp_path: Path) -> None:
    write(str(tmp_path), [request(1), request(2, rollout="two"), request(3, rollout=""), request(4, share=0.0)])
    assert history.read(str(tmp_path), "one").requests["id"].to_list() == ["r1"]
    assert history.read(str(tmp_path / "nowhere"), "one").requests.is_empty()


def test_a_damaged_part_is_a_sentence(tmp_path: Path) -> None:
    write(str(tmp_path), [request(1)])
    (tmp_path / "requests" / "20260101T000000-x-000001.parquet").write_bytes(b"torn")
    with pytest.raises(StorageError, match=r"-x-000001\.parquet cannot be read .* remove that part"):
        history.read(str(tmp_path), "one")


def test_only_the_first_known_outcome_of_a_subject_counts(tmp_path: Path) -> None:
    same = events.hashed("one", "s")
    requests = [
        request(1, time=at(1), subject_hash=same, latency_s=0.4),
        request(2, time=at(2), subject_hash=same, latency_s=0.1, verdict="real"),
        request(3, time=at(3)),
    ]
    said = [
        Feedback(id="r2", time=at(4), label=1),
        Feedback(id="r1", time=at(5), label=1),
        Feedback(id="r3", time=at(4.5), label=1),
    ]
    write(str(tmp_path), requests, said)
    past = history.read(str(tmp_path), "one")
    assert history.subjects(past).height == 2
    assert history.outcomes(past, "latency", PLAN)["outcome"].to_list() == pytest.approx([0.2, 0.8])
    accuracy = history.outcomes(past, "accuracy", PLAN)
    assert accuracy["outcome"].to_list() == [0.0, 1.0]  # the second request was told first, and was wrong
    assert accuracy["time"].to_list() == [at(4), at(4.5)]


def test_outcomes_in_words_and_numbers(tmp_path: Path) -> None:
    requests = [
        request(1, verdict="fake", probability=0.9),
        request(2, verdict="real", probability=0.2),
        request(3, verdict="uncertain", probability=0.5),
        request(4, verdict=None, probability=None, status=503, latency_s=9.0),
    ]
    said = [Feedback(id=f"r{number}", time=at(number), label=1, satisfied=number < 3) for number in range(1, 5)]
    write(str(tmp_path), requests, said)
    past = history.read(str(tmp_path), "one")

    def values(outcome: Outcome, plan: RolloutConfig = PLAN) -> list[float]:
        return history.outcomes(past, outcome, plan)["outcome"].to_list()

    assert values("accuracy") == [1.0, 0.0, 0.5, 0.0]
    assert values("accuracy", RolloutConfig(accuracy="brier")) == pytest.approx([0.99, 0.36, 0.75, 0.0])
    assert values("satisfaction") == [1.0, 1.0, 0.0, 0.0]
    assert values("errors") == [1.0, 1.0, 1.0, 0.0]
    assert values("latency") == pytest.approx([0.8, 0.8, 0.8, 0.0])
    within = RolloutConfig.model_validate({"latency": {"measure": "share"}})
    assert values("latency", within) == [1.0, 1.0, 1.0, 0.0]


@given(order=st.permutations(range(12)), cuts=st.sets(st.integers(1, 11)))
def test_the_order_and_size_of_parts_does_not_matter(
    order: list[int], cuts: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    requests, said = traffic(days=[number / 10 for number in range(12)], labelled=0.5)
    whole, parts = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("parts")
    write(str(whole), requests, said)
    edges = [0, *sorted(cuts), 12]
    for start, stop in itertools.pairwise(edges):
        write(str(parts), [requests[order[place]] for place in range(start, stop)])
    write(str(parts), [], reversed(said))
    assert history.read(str(whole), "one").requests.equals(history.read(str(parts), "one").requests)


def test_events_in_an_object_store(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    requests, said = traffic(days=[0.1, 0.2, 0.3])
    write("s3://bucket/events", requests, said)
    past = history.read("s3://bucket/events", "one")
    assert past.requests["id"].to_list() == ["r0", "r1", "r2"]
    assert past.requests.select(pl.col("label").sum()).item() == 3
