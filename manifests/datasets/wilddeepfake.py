"""WildDeepfake: faces cut out of videos from the Internet, published without the videos."""

from __future__ import annotations

from typing import Final

from semblance.manifests.datasets.records import DEFAULT, DatasetInfo, Datasheet, Release, register

INFO: Final = DatasetInfo(
    name="wilddeepfake",
    datasheet=Datasheet(
        title="WildDeepfake",
        homepage="https://github.com/OpenTAI/wild-deepfake",
        citation=(
            "Zi et al., WildDeepfake: A Challenging Real-World Dataset for Deepfake Detection, ACM Multimedia 2020, "
            "arXiv:2101.01456."
        ),
        terms=(
            "Released by its authors after an agreement has been signed: read it before use. Assume that it prohibits "
            "redistribution of the faces."
        ),
        consent="Not reported: the videos were collected from the Internet.",
        known_leaks=(
            "Sequences are published without their videos, so train and test may share videos and people. The "
            "audit can find shared pictures, but no public data can prove that there are none."
        ),
        label_noise="Labels are those of the archives' folders, given by the authors' annotators.",
    ),
    identity_note=(
        "WildDeepfake publishes neither people nor which sequences come from one video (7,314 sequences were cut from "
        "707 videos): no split can guarantee that train and test share no person and no video."
    ),
    releases={
        DEFAULT: Release(
            date="2020-10-12", source="Zi et al., ACM Multimedia 2020 (12 to 16 October), doi:10.1145/3394171.3413769"
        )
    },
    full={"sequences": 7_314},
    val_from_train=True,
    paired=False,
)
register(INFO)
