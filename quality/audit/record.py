"""The audit as a versioned record, ``audit.json``: the one source of its JSON Schema and of docs/audit-json.md."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from semblance.manifests.records import Level
from semblance.quality.audit.evidence import (
    Background,
    Copies,
    EstimatedPeople,
    Figures,
    FilterGroup,
    LabelNoise,
    Losses,
    Order,
    Part,
    People,
    Shortcut,
)

SCHEMA: Final = "semblance-audit/1"


class Settings(Part):
    """What was asked for, and the limits that the judgement used."""

    plan_only: bool = Field(description="whether only the plans were audited: nothing was seen of files and pictures")
    allow: list[str] = Field(description="names of accepted leaks, as given to --allow")
    not_leaks: list[str] = Field(description="names of --allow that match no leak")
    attributes: str | None = Field(description="table of attributes for the filter check")
    distance: int = Field(description="bits (of 64) in which matching frames may differ")
    least_frames: int = Field(description="matching frames that a pair of copies needs")
    least_share: float = Field(description="share of the shorter video's frames that it needs, 0 to 1")
    confirm: int = Field(description="most video pairs compared on pixels")
    shortcut_alarm: float = Field(description="a lower 95 % bound of the AUC above this is a shortcut")
    shortcut_families: int = Field(description="families needed to test for shortcuts")
    filter_gap: float = Field(description="difference of reject rates, 0 to 1, that is a warning")
    lost_limit: float = Field(description="lost share of a label or method, 0 to 1, that is a warning")
    failed_limit: float = Field(description="failed share of the videos, 0 to 1, that is a warning")


class Judgement(Part):
    """One finding. Everything that the verdict says is one."""

    level: Level = Field(
        description="broken: a law or promise does not hold; warning: results may mislead; note: what could not be seen"
    )
    law: str = Field(
        description="what was looked at: files, isolation, people, coverage, copies, failures, lost, labels, shortcuts "
        "or filters"
    )
    what: str = Field(description="the finding, with its counts")
    remedy: str = Field(description="what to do; may be empty")
    ids: list[str] = Field(description="the videos, people, families or pictures in question, all of them")


class Dataset(Part):
    """What was audited."""

    names: list[str] = Field(description="datasets in the plan")
    title: str | None = Field(description="title of the dataset; null if the build is unfinished, or for a table")
    fingerprint: str | None = Field(description="of inputs, recipe, model weights and schema; null for a plan")
    synthetic: bool = Field(description="whether every person and video was invented by `ingest demo`")
    versions: dict[str, str] = Field(description="versions that built it, among them schema and semblance")


class Promise(Part):
    """A kind of ids, and whether the active split separates it."""

    kind: str = Field(description="family, person, person_estimated, recording or method")
    promised: bool = Field(description="whether the protocol promises to separate them")
    splits: Literal["all", "test"] | None = Field(
        description="all: no two of train, val and test share one; test: test shares none; null: not promised"
    )
    known: int = Field(description="different ids; 0: nothing is shown about them")
    shared: int = Field(description="of them, in more than one split")


class Protocol(Part):
    """The rule of the active split."""

    name: str = Field(description="identity, person_estimated, family, official, official_clean, method or temporal")
    against: str | None = Field(description="what official_clean is clean of; null for other protocols")
    promises: list[Promise] = Field(description="what it separates, and what a reader may expect and it does not")
    note: str = Field(description="what is known about the people of this dataset; may be empty")
    facts: list[str] = Field(description="what the split had to do or give up")
    absent: dict[str, str] = Field(description="protocols that this dataset does not allow, and why")


class Coverage(Part):
    """One split."""

    split: str = Field(description="train, val, test or unassigned")
    real: int = Field(description="real videos that are present")
    fake: int = Field(description="fakes that are present")
    absent: int = Field(description="planned videos without a file or label")
    failed: int = Field(description="videos that failed; 0 for a plan")
    empty: int = Field(description="videos without a stored crop")
    crops: int = Field(description="stored crops")
    families: int = Field(description="families")
    named: int = Field(description="known people")
    used_real: int = Field(description="real videos with a kept crop; in a plan all that are present")
    used_fake: int = Field(description="fakes with a kept crop; in a plan all that are present")


class BuildRecord(Part):
    """One build, or one plan."""

    build: str = Field(description="path or URL, as given")
    dataset: Dataset = Field(description="what was audited")
    protocol: Protocol = Field(description="the rule of the active split")
    findings: list[Judgement] = Field(description="the findings, worst first")
    problems: list[str] = Field(description="broken laws of files and rows, as sentences")
    coverage: list[Coverage] = Field(description="the splits of the active protocol")
    figures: dict[str, list[Figures]] = Field(description="ids in several splits by protocol column; split: the active")
    people: People = Field(description="known people")
    people_estimated: EstimatedPeople | None = Field(
        description="people estimated from faces; null: there is no manifests/persons.parquet"
    )
    copies: Copies | None = Field(description="copies; null: a plan")
    shortcuts: list[Shortcut] | None = Field(description="whether metadata predict the label; null: a plan")
    background: list[Background] | None = Field(
        description="whether the label can be read from the picture without the face; null: a plan"
    )
    order: Order | None = Field(description="whether an order of pictures or names tells the label; null: a plan")
    label_noise: LabelNoise | None = Field(description="doubtful labels; null: a plan")
    filters: list[FilterGroup] | None = Field(description="reject rates by group; null: a plan")
    losses: Losses = Field(description="what was lost, and why")


class Shared(Part):
    """Ids that two builds share, of one kind and pair of splits."""

    kind: str = Field(description="video, family, target, donor, person, recording, bytes or near_duplicate")
    side: str = Field(description="split in the first build")
    other_side: str = Field(description="split in the second build")
    ids: int = Field(description="how many ids")


class Between(Part):
    """Two builds."""

    build: str = Field(description="the first")
    other: str = Field(description="the second")
    findings: list[Judgement] = Field(description="what one tests and the other trains or validates on")
    shared: list[Shared] = Field(description="all that they share, by kind and splits")


class Leak(Part):
    """One leaking id. The same id may leak under several protocols; `column` split is the active one."""

    build: str = Field(description="the build")
    other: str | None = Field(description="the second build of a leak between two")
    column: str = Field(description="protocol column; split is the active one")
    kind: str = Field(
        description="family, target, donor, person, person_estimated, recording, method, video, bytes, near_duplicate "
        "(copies), shared_recording (other moments of one recording), target_recording or donor_recording (a fake in "
        "another split than the real video of its target's or donor's recording)"
    )
    dataset: str | None = Field(description="dataset of the id")
    id: str = Field(description="for a pair: both videos joined by +; for equal pictures: their SHA-256")
    train: int | None = Field(description="videos (pictures for bytes) in train; null between builds")
    val: int | None = Field(description="in val")
    test: int | None = Field(description="in test")
    side: str | None = Field(description="split in the first build, or of the fake")
    other_side: str | None = Field(description="split in the second build")
    note: str | None = Field(description="the evidence in words")
    breaks: bool = Field(description="whether the active protocol promises that there is none")
    allowed: bool = Field(description="whether --allow accepts it")


class Search(Part):
    """The search for near-duplicates over all builds."""

    sentences: list[str] = Field(description="the search in words: what was compared, found, and missed")
    compared: dict[str, int] = Field(description="videos compared by the hashes of their frames, and of their crops")
    too_short: int = Field(description="videos with fewer hashed frames than a match needs")
    no_hash: int = Field(description="videos without any hashed face")
    by_rejected_faces: int = Field(description="videos searched by rejected faces too")
    flat: int = Field(description="frames left out because they are flat")
    common: int = Field(description="frames left out because they resemble too many others")
    thinned: int = Field(description="videos thinned to 128 frames")
    one_family: int = Field(description="matching pairs within a family, as expected")
    by_hash: int = Field(description="pairs of two families that match by hash")
    confirmed: int = Field(description="of them, confirmed on pixels")
    not_looked_at: int = Field(description="of them, comparable and not compared")
    unreadable: int = Field(description="pictures that could not be read")
    different_people: int = Field(description="pairs of videos known to show different people")
    false_by_hash: int = Field(description="of them, matching by hash")
    false_confirmed: int = Field(description="of them, confirmed: false alarms")


class RecordingSearch(Part):
    """The search for recordings under two names, by hashes of aligned faces, own and mirrored."""

    sentences: list[str] = Field(description="the search in words: what was compared, found, and missed")
    compared: int = Field(description="videos with hashed faces enough")
    no_hash: int = Field(description="videos without a hash of an aligned face")
    no_hash_in_build: int = Field(description="of them, those of builds that have no such hashes")
    flat: int = Field(description="faces left out because they are flat")
    common: int = Field(description="faces left out because they resemble too many others")
    by_hash: int = Field(description="pairs of two families that match by hash")
    confirmed: int = Field(description="of them, confirmed on pixels and local features")
    not_confirmed: int = Field(description="of them, compared and not confirmed")
    no_crops: int = Field(description="of them, not comparable: a video has no stored crop")
    not_looked_at: int = Field(description="of them, comparable and not compared")
    unreadable: int = Field(description="pictures that could not be read")
    different_people: int = Field(description="pairs of videos known to show different people")
    false_by_hash: int = Field(description="of them, matching by hash")
    false_confirmed: int = Field(description="of them, confirmed: false alarms")


class Record(Part):
    """An audit. Every statement of the reviewer's page comes from here."""

    schema_: Literal["semblance-audit/1"] = Field(alias="schema", description="name and version of this format")
    versions: dict[str, str] = Field(description="what made the audit: semblance, python, polars, ...")
    settings: Settings = Field(description="what was asked for, and the limits used")
    verdict: str = Field(description="the verdict in one line")
    level: Level = Field(description="the worst level of all findings; note: SOUND")
    broken: bool = Field(description="whether the audit failed, as by exit code 1")
    builds: list[BuildRecord] = Field(description="the builds")
    between: list[Between] = Field(description="every two builds")
    leaks: list[Leak] = Field(description="every leaking id, under every protocol")
    near_duplicates: Search | None = Field(description="the search for copies; null: plans")
    same_recordings: RecordingSearch | None = Field(description="the search for changed copies; null: plans")
