"""The results of runs, as plain values."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ._c_api import FinishReasonName, RegionKindName


@dataclass(frozen=True)
class RegionScore:
    """The confidence of the model, from 0 to 1.

    `label` is the probability of the label, None without a label. `locations` is the probability that the least certain
    coordinate is within the location tolerance. `overall` is their product, or `locations` without a label.
    """

    overall: float
    label: float | None
    locations: float


@dataclass(frozen=True)
class Region:
    """A box (two corners), quad (four corners) or polygon in pixels of the image, with its label."""

    kind: RegionKindName
    label: str
    """The label; the empty string if the region has none."""
    points: list[tuple[float, float]]
    bounding_box: tuple[float, float, float, float]
    """The smallest box that contains the points: x1, y1, x2, y2."""
    score: RegionScore | None
    """The confidence; None if it is not known."""
    instance: int
    """The number of the object to which the region belongs. The polygons of one object share it."""


@dataclass(frozen=True)
class Timings:
    """The durations of the stages of a run in milliseconds. Each result of a batch has those of the whole batch."""

    preprocess_ms: float
    vision_ms: float
    generate_ms: float


@dataclass(frozen=True)
class Result:
    """The answer to a request."""

    task: str
    """The token of the task, such as `<OD>`."""
    input: str | None
    """The input of the task as text, None without one. A region is four location tokens."""
    text: str
    """The answer without special tokens."""
    raw_text: str
    """The answer with special tokens."""
    regions: list[Region]
    score: float | None
    """The geometric mean of the probabilities of the tokens, from 0 to 1, where a location counts within the tolerance;
    None if the answer has no tokens."""
    sequence_score: float
    """The value of transformers' `sequences_scores`."""
    finish_reason: FinishReasonName
    token_ids: list[int]
    token_log_probs: list[float]
    image_size: tuple[int, int]
    """Width and height of the image in pixels."""
    timings: Timings
    hf: dict[str, Any]
    """The answer in the form of transformers' `post_process_generation`."""
    alternatives: list[Result] = field(default_factory=list)
    """The further answers with `num_return_sequences` above 1, best first."""

    @staticmethod
    def from_json(document: str) -> Result:
        """Parses the library's JSON."""
        return _result(json.loads(document))


def _result(json_: dict[str, Any]) -> Result:
    return Result(
        task=json_["task"],
        input=json_["input"],
        text=json_["text"],
        raw_text=json_["raw_text"],
        regions=[_region(region) for region in json_["regions"]],
        score=json_["score"],
        sequence_score=json_["sequence_score"],
        finish_reason=json_["finish_reason"],
        token_ids=json_["token_ids"],
        token_log_probs=json_["token_log_probs"],
        image_size=(json_["width"], json_["height"]),
        timings=Timings(*(json_["timings_ms"][stage] for stage in ("preprocess", "vision", "generate"))),
        hf=json_["result"],
        alternatives=[_result(alternative) for alternative in json_.get("alternatives", [])],
    )


def _region(json_: dict[str, Any]) -> Region:
    score = json_["score"]
    x1, y1, x2, y2 = json_["bounding_box"]
    return Region(
        kind=json_["kind"],
        label=json_["label"],
        points=[(x, y) for x, y in json_["points"]],
        bounding_box=(x1, y1, x2, y2),
        score=None if score is None else RegionScore(score["overall"], score["label"], score["locations"]),
        instance=json_["instance"],
    )


@dataclass(frozen=True)
class ScoredToken:
    """A token of a target, with its natural log-probability."""

    token_id: int
    text: str
    log_prob: float


@dataclass(frozen=True)
class Score:
    """The score of a target: the mean cross-entropy, and the log-probability of each token."""

    loss: float
    tokens: list[ScoredToken]

    @staticmethod
    def from_json(document: str) -> Score:
        """Parses the library's JSON."""
        json_ = json.loads(document)
        tokens = [ScoredToken(token["token_id"], token["text"], token["log_prob"]) for token in json_["tokens"]]
        return Score(json_["loss"], tokens)
