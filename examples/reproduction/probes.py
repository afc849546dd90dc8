"""Linear probes on frozen features of untrimmed videos: what do single snippets know?

Three kinds of videos: concatenations of held-out real clips (where do they join, which class is shown),
continuous episodes of a robot (phases, their boundaries, the segment of the task), and videos of one repeated
action (ends of its cycles; the first half of each video trains, the second tests). Features are reduced to
`WIDTH` principal components, so that wide and joined encoders have no advantage by their width.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from .features import Components
from .scoring import ScoreDrawn

WIDTH = 96
SNIPPET_FRAMES = 8
# Question: the kind of its videos, and whether it is answered by average precision or by accuracy.
QUESTIONS = {
    "joins": ("joins", "ap"),
    "class": ("joins", "accuracy"),
    "phase boundaries": ("sim", "ap"),
    "phases": ("sim", "accuracy"),
    "task segment": ("sim", "ap"),
    "cycle ends": ("quva", "within"),
}
PHASES = ("rest", "reach", "grasp", "manipulate")
Truths = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False, kw_only=True)
class ProbeVideo:
    """Snippets of a video and what is true of them.

    Args:
        name (`str`): Its name; the bootstrap draws videos.
        starts (`np.ndarray`): First frame of every snippet.
        truths (`dict[str, np.ndarray]`): For every question a label of each snippet; -1 for none.
        is_test (`np.ndarray`): Whether each snippet tests.
    """

    name: str
    starts: np.ndarray
    truths: Truths
    is_test: np.ndarray


def holds_any(starts: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return whether a position, in frames, lies between the first and the last frame of each snippet."""
    inside = (positions > starts[:, None]) & (positions <= starts[:, None] + SNIPPET_FRAMES - 1)
    return inside.any(1).astype(np.int64)


def join_truths(starts: np.ndarray, edges: np.ndarray, shown: np.ndarray) -> Truths:
    """Return the truths of concatenated clips, by where they end, in frames, and the class of every frame."""
    joins = holds_any(starts, edges[:-1])
    middles = np.minimum(starts + SNIPPET_FRAMES // 2, len(shown) - 1)
    return {"joins": joins, "class": np.where(joins, -1, shown[middles])}


def episode_truths(starts: np.ndarray, entry: Mapping[str, Any]) -> Truths:  # Any: parsed JSON
    """Return the truths of a continuous episode of `untrimmed_sim`."""
    centers_s = (starts + SNIPPET_FRAMES / 2) / entry["fps"]
    phases = np.full(len(starts), -1)
    for phase in entry["phases"]:
        start_s, end_s = phase["segment"]
        phases[(centers_s >= start_s) & (centers_s < end_s)] = PHASES.index(phase["label"])
    start_s, end_s = entry["annotations"][0]["segment"]
    return {
        "phase boundaries": holds_any(starts, np.array(entry["boundaries"]) * entry["fps"]),
        "phases": phases,
        "task segment": ((centers_s >= start_s) & (centers_s < end_s)).astype(np.int64),
    }


def cycle_video(
    name: str, starts: np.ndarray, entry: Mapping[str, Any]
) -> ProbeVideo | None:  # Any: as above
    """Return a video of one repeated action; none if the ends of cycles are not in both halves."""
    ends = holds_any(starts, np.array(entry["boundaries"]) * entry["fps"])
    is_test = starts >= entry["num_frames"] / 2
    if not all(0 < ends[part].sum() < part.sum() for part in (is_test, ~is_test)):
        return None
    return ProbeVideo(name=name, starts=starts, truths={"cycle ends": ends}, is_test=is_test)


def average_precision(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the area under precision over recall, ties in the order of the rows; NaN without positives."""
    hits = labels[np.argsort(-scores, kind="stable")]
    if not hits.sum():
        return float("nan")
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float((precision * hits).sum() / hits.sum())


def fit_linear(
    inputs: torch.Tensor, labels: np.ndarray, decay: float
) -> Callable[[torch.Tensor], np.ndarray]:
    """Fit a softmax regression, and return what gives its probabilities `(num_rows, num_classes)`."""
    targets = torch.from_numpy(labels)
    weight = torch.zeros(int(targets.max()) + 1, inputs.shape[1], requires_grad=True)
    bias = torch.zeros(len(weight), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(inputs @ weight.T + bias, targets) + decay * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return lambda rows: (rows @ weight.detach().T + bias.detach()).softmax(-1).numpy()


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers of a probe on the snippets that test.

    Args:
        videos (`np.ndarray`): Name of the video of each.
        scores (`np.ndarray`): Score of a positive, or whether the answer was right.
        labels (`np.ndarray`): The truth.
    """

    videos: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    @property
    def names(self) -> list[str]:
        """The videos, each once, in their order."""
        return list(dict.fromkeys(self.videos.tolist()))


def answer(question: str, videos: Sequence[ProbeVideo], features: Sequence[np.ndarray]) -> Answers:
    """Train the probe of a question and return its answers on what tests."""
    if QUESTIONS[question][1] != "within":
        return _answer(question, videos, features, 1e-3)
    parts = [_answer(question, [video], [rows], 0.1) for video, rows in zip(videos, features, strict=True)]
    columns = ("videos", "scores", "labels")
    return Answers(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))


def _answer(
    question: str, videos: Sequence[ProbeVideo], features: Sequence[np.ndarray], decay: float
) -> Answers:
    rows = np.concatenate(features)
    labels = np.concatenate([video.truths[question] for video in videos])
    is_test = np.concatenate([video.is_test for video in videos])
    names = np.concatenate([np.full(len(video.starts), video.name) for video in videos])
    known = labels >= 0
    components = Components(rows[~is_test & known], WIDTH)
    predict = fit_linear(components(rows[~is_test & known]), labels[~is_test & known], decay)
    tested = is_test & known
    probabilities = predict(components(rows[tested]))
    if QUESTIONS[question][1] == "accuracy":
        scores = (probabilities.argmax(1) == labels[tested]).astype(np.float64)
    else:
        scores = probabilities[:, 1].astype(np.float64)
    return Answers(names[tested], scores, labels[tested])


def score_of_answers(question: str, answers: Answers) -> ScoreDrawn:
    """Return what scores drawn videos, by their places; one that is drawn twice counts twice."""
    rows = [np.flatnonzero(answers.videos == name) for name in answers.names]
    kind = QUESTIONS[question][1]

    def score_drawn(drawn: np.ndarray) -> float:
        if kind == "within":
            parts = [(answers.scores[rows[place]], answers.labels[rows[place]]) for place in drawn]
            return float(np.mean([average_precision(s, labels) - labels.mean() for s, labels in parts]))
        every = np.concatenate([rows[place] for place in drawn])
        if kind == "accuracy":
            return float(answers.scores[every].mean())
        return average_precision(answers.scores[every], answers.labels[every])

    return score_drawn


def measure(question: str, answers: Answers) -> float:
    """Return the score of a question, of all videos."""
    return score_of_answers(question, answers)(np.arange(len(answers.names)))
