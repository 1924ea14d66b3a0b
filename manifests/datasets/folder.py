"""A user's own videos, of which nothing is known beforehand."""

from __future__ import annotations

from typing import Final

from semblance.manifests.datasets.records import DatasetInfo, Datasheet, register

INFO: Final = DatasetInfo(
    name="folder",
    datasheet=Datasheet(
        title="A user's own videos",
        homepage="Unknown to Semblance: the videos come from the folder of whoever built this.",
        citation="Unknown to Semblance: cite where the videos come from.",
        terms="Unknown to Semblance: do not pass videos or crops on without knowing the terms they came under.",
        consent="Unknown to Semblance: whether the people shown agreed must be answered by whoever built this.",
        known_leaks=(
            "Labels, pairs, people and recordings are what the folders or the user's table say; nobody has checked "
            "them. People who are not named may stand on several sides."
        ),
        label_noise="Unknown to Semblance.",
    ),
    identity_note=(
        "Semblance knows of these videos what their folders or the table say: without the columns target and donor "
        "(or recording and donor_recording) no split can promise anything about people."
    ),
)
register(INFO)
