"""The evidence in an audit record: people, copies, shortcuts, labels, filters and losses of one build."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A part of the record. Unknown fields are ignored, because later versions of Semblance may add some."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Figures(Part):
    """How many ids of one kind are in more than one of train, val and test of one protocol."""

    kind: str = Field(description="family, target, donor, person, recording or method (held-out methods)")
    known: int = Field(description="different ids")
    shared: int = Field(description="of them, in two or three splits")
    train_val: int = Field(description="ids in train and in val")
    train_test: int = Field(description="ids in train and in test")
    val_test: int = Field(description="ids in val and in test")
    with_test: int = Field(description="ids in test and in train or val")
    tests: int = Field(description="test videos that have such an id")
    tests_shared: int = Field(description="of them, videos with an id that is in train or val too")
    unknown: int = Field(description="videos in a split that have no such id; for kinds of fakes alone: fakes")


class People(Part):
    """The known people: those whom the dataset or the user names. Nobody is recognised for this."""

    basis: str | None = Field(
        description="what the ids stand for: person, recording (a person in several has several ids), or null: no ids"
    )
    known: int = Field(description="different ids of people in train, val and test")
    shared: int = Field(description="of them, in two or three splits; `leaks` names them")
    videos_that_name_one: int = Field(description="videos in train, val or test that name a person")
    videos_that_name_none: int = Field(description="videos in train, val or test that name nobody")
    test_videos: int = Field(description="test videos that name a person")
    test_videos_shared: int = Field(description="of them, videos that name a person who is in train or val too")


class EstimatedPerson(Part):
    """An estimated person in more than one split."""

    person: str = Field(description="name of the estimate: `id:` and a known id, or a number of the run")
    train: int = Field(description="videos in train")
    val: int = Field(description="videos in val")
    test: int = Field(description="videos in test")


class EstimatedPeople(Part):
    """People estimated from faces (manifests/persons.parquet): estimates, never proof."""

    people: int = Field(description="estimated people in train, val and test")
    videos: int = Field(description="videos in train, val or test with an estimated person")
    videos_without: int = Field(description="videos in train, val or test of which nobody could be estimated")
    by: dict[str, int] = Field(description="rows by how the person was found: known, cluster, attached, original, ...")
    test_videos: int = Field(description="test videos with an estimated person")
    test_videos_shared: int = Field(description="of them, videos with an estimated person who is in train or val too")
    shared: list[EstimatedPerson] = Field(description="the estimated people in more than one split")
    method: dict[str, Any] = Field(
        description="how they were estimated: embedder, weights, thresholds, counts, calibration (key "
        "`semblance.persons` of manifests/persons.parquet)"
    )


class Unsearched(Part):
    """A video that was not compared with the others."""

    video_id: str = Field(description="the video")
    why: str = Field(description="no hashed face, or too few hashed frames")


class EqualPictures(Part):
    """Stored pictures with equal bytes."""

    pictures: int = Field(description="pictures in train, val or test of this protocol")
    in_several: int = Field(description="of them, those whose bytes are in more than one split")


class CopyPair(Part):
    """Two videos of two families whose pictures agree; whether it leaks depends on their splits."""

    video: str = Field(description="a video")
    other: str = Field(description="its copy")
    split: str | None = Field(description="split of the first")
    other_split: str | None = Field(description="split of the second")
    shared: int = Field(description="frames that match")
    share: float = Field(description="of the sampled frames of the shorter video, 0 to 1")
    kind: str = Field(
        description="near_duplicate: the same frames; same_recording: the same recording, whatever was done to a copy"
    )
    how: str | None = Field(description="what turns the first into the second, in words; null for near_duplicate")


class Copies(Part):
    """Copies within the build."""

    videos: int = Field(description="videos that are present")
    not_searched: list[Unsearched] = Field(description="the videos that were not compared with others")
    not_searched_share: float = Field(description="their share, 0 to 1")
    equal_pictures: dict[str, EqualPictures] = Field(description="by protocol column")
    pairs: list[CopyPair] = Field(description="confirmed pairs, also those in one split")
    not_compared: int = Field(description="pairs that match by hash and were not compared on pixels (`confirm`)")


class Separator(Part):
    """How well one column predicts the label alone."""

    column: str = Field(description="column of videos or samples")
    auc: float = Field(description="area under the ROC curve, 0.5 is chance")
    real: str = Field(description="typical value of reals")
    fake: str = Field(description="typical value of fakes")


class Separability(Part):
    """How well columns together predict the label, out of fold by family."""

    verdict: str = Field(
        description="even (no shortcut), shortcut, baseline (face statistics never raise an alarm), too few to tell "
        "(families), or nothing known (about both labels)"
    )
    auc: float | None = Field(description="area under the ROC curve; null: not tested")
    low: float | None = Field(description="lower bound of the 95 % interval over families; a shortcut is above 0.6")
    high: float | None = Field(description="upper bound")
    reals: int = Field(description="real videos used")
    fakes: int = Field(description="fakes used")
    families: int = Field(description="families used; fewer than `settings.shortcut_families` are not tested")
    used: list[str] = Field(description="columns that the classifier saw")
    unused: list[str] = Field(description="columns left out, because they are unknown for many videos")
    giveaways: list[Separator] = Field(description="every used column alone, the best first")
    constant: list[str] = Field(description="columns with one value in all reals and another in all fakes, in words")


class Shortcut(Part):
    """Reals against fakes of one method and compression."""

    method: str | None = Field(description="null: all methods")
    compression: str | None = Field(description="null: all compressions")
    acquisition: Separability = Field(description="by how the videos were recorded, stored and framed")
    face: Separability = Field(description="by statistics of the face crops: a baseline for detectors")


class Told(Part):
    """How well the label can be told from something, out of fold by family."""

    auc: float | None = Field(description="area under the ROC curve, 0.5 is chance; null: not tested")
    low: float | None = Field(description="lower bound of the 95 % interval over families; a shortcut is above 0.6")
    high: float | None = Field(description="upper bound")
    reals: int = Field(description="real videos used")
    fakes: int = Field(description="fakes used")
    families: int = Field(description="families used; fewer than `settings.shortcut_families` are not tested")


class Background(Part):
    """Whether the label of one method and compression can be read from the picture without the face."""

    method: str | None = Field(description="null: all methods")
    compression: str | None = Field(description="null: all compressions")
    verdict: str = Field(description="even (no shortcut), shortcut, too few to tell (families), or nothing known")
    paired: bool = Field(description="whether most fakes are beside their original, so that they share its background")
    without_face: Told = Field(description="by blocks of the crops away from the face: frequencies, noise, colours")
    whole_crop: Told = Field(description="by the same statistics of the whole crops, for comparison")


class Order(Part):
    """Whether an order tells fakes from reals."""

    tar: Told = Field(description="the order of pictures in the tars, which the seed mixes: it should tell nothing")
    name: Told = Field(description="the order of file names, which no model sees")


class Flag(Part):
    """A video whose label is doubtful."""

    video_id: str = Field(description="the video")
    flag: str = Field(description="unchanged, equals_real, equals_fake, or a flag of a later version")
    value: float | None = Field(description="what was measured")
    limit: float | None = Field(description="the limit it crosses")
    by: str = Field(description="who judged")


class EqualPair(Part):
    """A real and a fake video with the same pictures."""

    real: str = Field(description="the real video")
    fake: str = Field(description="the fake")
    same_family: bool = Field(description="whether the fake was made from this real video")
    share: float = Field(description="of the pictures of the shorter one, 0 to 1")


class LabelNoise(Part):
    """Doubtful labels. The labels themselves are the dataset's; none was changed."""

    flags: list[Flag] = Field(description="the doubtful labels")
    pairs: list[EqualPair] = Field(description="reals and fakes with the same pictures")
    compared_fakes: int = Field(description="fakes that were compared with their original")
    not_compared: dict[str, int] = Field(description="fakes that were not, by reason (column guide)")
    without_crops: int = Field(description="fakes without a stored crop: not judged")
    doubtful: list[str] = Field(
        description="videos that `quality flag` ranked by all evidence and a model's doubts, the most doubtful first"
    )
    unreadable: str | None = Field(description="why labels could not be compared; null: they were")


class FilterGroup(Part):
    """Faces of one group, and how many a gate rejected."""

    by: str = Field(description="the grouping: skin brightness (estimate), face size, method, dataset, an attribute")
    group: str = Field(description="the group")
    faces: int = Field(description="faces seen")
    rejected: int = Field(description="of them, rejected by a gate")
    families: int = Field(description="families with such a face")
    rate: float = Field(description="rejected / faces")
    low: float = Field(description="lower 95 % bound of the rate (Wilson, faces of a family are alike)")
    high: float = Field(description="upper 95 % bound")
    reason: str | None = Field(description="the most frequent reason")
    judged: bool = Field(description="whether it and the others have families enough for a warning")
    warning: bool = Field(description="rejected clearly more often than the others")


class Lost(Part):
    """A planned video without a kept crop."""

    video_id: str = Field(description="the video")
    label: int | None = Field(description="0 real, 1 fake, null unlabelled")
    method: str = Field(description="pristine for reals; `not published` if unknown")
    cause: str = Field(description="every face rejected, or the status of the video")


class Share(Part):
    """What one label and method lost before training."""

    label: int | None = Field(description="0 real, 1 fake, null unlabelled")
    method: str = Field(description="pristine for reals; `not published` if unknown")
    videos: int = Field(description="planned videos, less those that a list of frames or videos leaves out")
    lost: int = Field(description="of them, without a kept crop")
    lost_share: float = Field(description="lost / videos")
    causes: dict[str, int] = Field(description="why videos have no kept crop")
    crops: int = Field(description="kept crops")
    unlabelled: int = Field(description="of them, fakes without a face label: training leaves them out")
    unlabelled_share: float = Field(description="unlabelled / crops")
    reasons: dict[str, int] = Field(description="why crops have no face label")
    rules: dict[str, int] = Field(description="what labelled the kept faces of fakes")
    persons: int | None = Field(description="persons in the kept crops, counted within each video")


class Unassigned(Part):
    """A video that the active split leaves out."""

    video_id: str = Field(description="the video")
    why: str = Field(description="the reason (column split_note)")


class Losses(Part):
    """What did not reach train, val or test, and why."""

    planned: int = Field(description="videos in the plan, missing files included")
    absent: dict[str, list[str]] = Field(description="videos whose file or label is missing, by fault")
    unassigned: list[Unassigned] = Field(description="videos that the active split leaves out")
    by_method: list[Share] | None = Field(
        description="lost videos and unlabelled crops by label and method; null: plan"
    )
    lost: list[Lost] | None = Field(description="every video without a kept crop; null: a plan")
    unlabelled: list[str] | None = Field(description="fakes with kept crops without a face label; null: a plan")
    failed: dict[str, int] | None = Field(description="videos that failed, by status; null: a plan")
    rejected: dict[str, int] | None = Field(description="faces rejected, by reason; null: a plan")
    unplanned: dict[str, int] | None = Field(description="files found and not planned, by kind; null: a plan")
