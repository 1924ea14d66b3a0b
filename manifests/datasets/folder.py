"""A user's own videos; nothing is known about them in advance."""

from __future__ import annotations

from typing import Final

from semblance.manifests.datasets.records import DatasetInfo, Datasheet, register

INFO: Final = DatasetInfo(
    name="folder",
    datasheet=Datasheet(
        title="A user's own videos",
        homepage="Unknown to Semblance: the videos come from a folder of the person who made this build.",
        citation="Unknown to Semblance: cite where the videos come from.",
        terms="Unknown to Semblance: do not redistribute videos or crops before you know their terms.",
        consent="Unknown to Semblance: ask the person who made this build whether the people shown agreed.",
        known_leaks=(
            "Labels, pairs, people and recordings come unchecked from the folders or the user's table. People who are "
            "not named may appear in several splits."
        ),
        label_noise="Unknown to Semblance.",
    ),
    identity_note=(
        "People are unknown unless the table has the columns target and donor (or recording and donor_recording); "
        "without them no split can guarantee anything about people."
    ),
)
register(INFO)
