"""Progress inside an epoch: on a pipe too, rarely, and with times that fit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from semblance.training.loop import progress
from semblance.training.loop.progress import EpochProgress


def run(seconds_a_batch: float, batches: int, epochs: int = 2, rank_zero: bool = True) -> list[str]:
    said: list[str] = []
    now = [100.0]
    shown = EpochProgress(said.append, clock=lambda: now[0])
    recipe = SimpleNamespace(epochs=epochs, data=SimpleNamespace(batch_size=8))
    module: Any = SimpleNamespace(recipe=recipe)
    for epoch in range(epochs):
        trainer: Any = SimpleNamespace(is_global_zero=rank_zero, current_epoch=epoch, num_training_batches=batches)
        shown.on_train_epoch_start(trainer, module)
        for batch in range(batches):
            now[0] += seconds_a_batch
            shown.on_train_batch_end(trainer, module, None, None, batch)
    return said


def test_a_long_epoch_says_how_far_it_is() -> None:
    said = run(1.0, 100)
    assert said[0] == (
        "epoch 1 of 2: batch 10 of 100, 8 units/s; about 90 s to the end of this epoch, 3 min to that of the run"
    )
    assert [line.split(", ")[0] for line in said[1:3]] == [
        "epoch 1 of 2: batch 30 of 100",
        "epoch 1 of 2: batch 70 of 100",
    ]
    assert said[-1].endswith("about 30 s to the end of this epoch, 30 s to that of the run")


def test_lines_become_rarer_but_never_stop() -> None:
    """An hour: lines double their distance up to five minutes."""
    assert 14 <= len(run(1.0, 3600, epochs=1)) <= 18


def test_a_slower_epoch_is_not_over_before_its_end() -> None:
    """The second epoch takes three times the first one's time."""
    said: list[str] = []
    now = [0.1]
    shown = EpochProgress(said.append, clock=lambda: now[0])
    module: Any = SimpleNamespace(recipe=SimpleNamespace(epochs=2, data=SimpleNamespace(batch_size=8)))
    for epoch, seconds in enumerate((1.0, 3.0)):
        trainer: Any = SimpleNamespace(is_global_zero=True, current_epoch=epoch, num_training_batches=30)
        shown.on_train_epoch_start(trainer, module)
        for batch in range(30):
            now[0] += seconds
            shown.on_train_batch_end(trainer, module, None, None, batch)
    assert said[-1].endswith("about 15 s to the end of this epoch, 15 s to that of the run")


def test_short_epochs_and_other_ranks_say_nothing() -> None:
    assert run(0.1, 50) == []
    assert run(1.0, 100, rank_zero=False) == []


def test_durations() -> None:
    assert [progress.duration(s) for s in (99.4, 99.5, 5970, 48 * 3600 - 1)] == [
        "99 s",
        "2 min",
        "1 h 40 min",
        "2 d 0 h",
    ]
