"""FaceForensics++, with FaceShifter and DeepFakeDetection."""

from __future__ import annotations

from typing import Final

from semblance.manifests.datasets.records import DEFAULT, DatasetInfo, Datasheet, Labels, Release, register

_CHANGELOG: Final = "changelog in the README of github.com/ondyari/FaceForensics"
_FIRST: Final = Release(date="2019-01-25", source=f"{_CHANGELOG}: release of FaceForensics++")
_ACTORS: Final = Release(
    date="2019-09-24", source="ai.googleblog.com/2019/09/contributing-data-to-deepfake-detection.html, as of that day"
)

INFO: Final = DatasetInfo(
    name="ffpp",
    datasheet=Datasheet(
        title="FaceForensics++, with FaceShifter and DeepFakeDetection",
        homepage="https://github.com/ondyari/FaceForensics",
        citation=(
            "Rössler et al., FaceForensics++: Learning to Detect Manipulated Facial Images, ICCV 2019, "
            "arXiv:1901.08971. FaceShifter: Li et al., CVPR 2020, arXiv:1912.13457. DeepFakeDetection: Dufour et al., "
            "DeepFakes Detection Dataset by Google & JigSaw, September 2019."
        ),
        terms=(
            "Released on request under the FaceForensics Terms of Use (linked from the homepage): read them before "
            "use. Assume that they prohibit redistribution of the videos and of derived pictures, such as these crops."
        ),
        consent=(
            "The sequences are cut from public YouTube videos; no consent of the people shown is reported. The actors "
            "of DeepFakeDetection were paid and consented (Google's announcement of 24 September 2019)."
        ),
        known_leaks=(
            "Every fake shows two recordings: a split by target alone mixes the donors of its parts. 22 "
            "YouTube videos yielded several sequences, and seven of them appear in two of the published lists (five "
            "in train and val, two in train and test). People are not named, so recurring people are unknown."
        ),
        label_noise=(
            "Fakes by FaceSwap and NeuralTextures end with the shorter of their two clips; NeuralTextures alters only "
            "the mouth, so little that strong compression may hide it. The meaning of masks differs by method: "
            "rectangles for Deepfakes, what the tracker masked for NeuralTextures."
        ),
    ),
    identity_note=(
        "FaceForensics++ names recordings, not people: its 1,000 sequences were cut from 977 YouTube videos, and a "
        "person may appear in several of them. DeepFakeDetection numbers its 28 actors, who are people; if it is "
        "present, the identity split separates both recordings and actors."
    ),
    identity_basis="recording",
    fractions=(0.7, 0.15, 0.15),
    releases={
        "youtube": _FIRST,
        "Deepfakes": _FIRST,
        "Face2Face": _FIRST,
        "FaceSwap": _FIRST,
        "NeuralTextures": Release(date="2019-08-30", source=f"{_CHANGELOG}: download script with NeuralTextures"),
        "FaceShifter": Release(date="2020-07-15", source=f"{_CHANGELOG}: added FaceShifter"),
        "actors": _ACTORS,
        "DeepFakeDetection": _ACTORS,
    },
    full={  # videos in one compression
        "youtube": 1_000,
        "Deepfakes": 1_000,
        "Face2Face": 1_000,
        "FaceSwap": 1_000,
        "NeuralTextures": 1_000,
        "FaceShifter": 1_000,
        "actors": 363,
        "DeepFakeDetection": 3_068,
    },
    labels={
        "deepfakebench": Labels(
            real={DEFAULT: "FF-real", "actors": "DFD_real"},
            fake={
                "Deepfakes": "FF-DF",
                "Face2Face": "FF-F2F",
                "FaceSwap": "FF-FS",
                "NeuralTextures": "FF-NT",
                "FaceShifter": "FF-FH",
                "DeepFakeDetection": "DFD_fake",
            },
        )
    },
    mask_note=("in FaceForensics++ those of Deepfakes are rectangles, those of NeuralTextures come from face tracking"),
)
register(INFO)
