"""The results of runs, as plain values."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class RegionScore:
    """The confidence of the model, from 0 to 1.

    `label` is the probability of the label, `locations` the probability that the least certain coordinate is within the
    location tolerance. `overall` is their product, or `locations` without a label.
    """

    overall: float
    label: float | None
    locations: float | None


@dataclass(frozen=True)
class Region:
    """A box (two corners), quad or polygon in pixels of the image, with its label."""

    kind: str
    label: str
    points: list[tuple[float, float]]
    score: RegionScore | None
    instance: int


@dataclass(frozen=True)
class Result:
    """The answer to a request."""

    task: str
    text: str
    """The answer without special tokens."""
    raw_text: str
    """The answer with special tokens."""
    regions: list[Region]
    score: float | None
    sequence_score: float
    finish_reason: str
    token_ids: list[int]
    token_log_probs: list[float]
    size: tuple[int, int]
    """Width and height of the image in pixels."""
    timings_ms: dict[str, float]
    hf: dict[str, Any]
    """The answer in the form of transformers' `post_process_generation`."""
    alternatives: list[Result] = field(default_factory=list)

    @staticmethod
    def from_json(document: str) -> Result:
        """Parses the library's JSON."""
        return _result(json.loads(document))


def _result(json_: dict[str, Any]) -> Result:
    return Result(
        task=json_["task"],
        text=json_["text"],
        raw_text=json_["raw_text"],
        regions=[_region(region) for region in json_["regions"]],
        score=json_["score"],
        sequence_score=json_["sequence_score"],
        finish_reason=json_["finish_reason"],
        token_ids=json_["token_ids"],
        token_log_probs=json_["token_log_probs"],
        size=(json_["width"], json_["height"]),
        timings_ms=json_["timings_ms"],
        hf=json_["result"],
        alternatives=[_result(alternative) for alternative in json_.get("alternatives", [])],
    )


def _region(json_: dict[str, Any]) -> Region:
    score = json_.get("score")
    return Region(
        kind=json_["kind"],
        label=json_["label"],
        points=[(x, y) for x, y in json_["points"]],
        score=score and RegionScore(score["overall"], score.get("label"), score.get("locations")),
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
