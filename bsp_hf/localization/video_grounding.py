"""`pipeline("video-grounding")`: a video and a sentence in, the moment it describes out, in seconds."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bsp_hf.encoder.provenance import loaded_revision
from bsp_hf.localization.grounding.network import GroundingNetwork
from bsp_hf.localization.grounding.query_reader import QueryReader
from bsp_hf.localization.grounding.samples import collate_grounding_samples
from bsp_hf.localization.lgi.training import LGI
from bsp_hf.localization.localizer.pipeline import LocalizationPipeline
from bsp_hf.localization.localizer.segments import LocalizedSegments, describe_detections, result_of
from bsp_hf.localization.localizer.tracks import covered_span
from bsp_hf.localization.tan.training import TAN

NETWORKS: dict[type, GroundingNetwork] = {network.model_class: network for network in (TAN, LGI)}


class VideoGroundingPipeline(LocalizationPipeline):
    """Find the moments that sentences describe, with 2D-TAN or LGI: `pipeline("video-grounding", ...)`.

    Call it as `ground(video, "the person opens the door")`, with several sentences
    (`ground(video, ["...", "..."])`, one result each), or with dicts `{"video": ..., "query": ...}`. Each of
    a list of videos is paired with its sentence in a list of the same length, or all with one sentence.

    Besides the parameters of every localization pipeline: `top_k` (moments per sentence, 5 by default; LGI
    finds one). To `pipeline(...)` alone: `word_vectors` and `text_encoder`, in place of what lies in the
    localizer's folder, for instance the path of GloVe with more words than those of the training queries.

    Args:
        args: The localizer, and nothing else.
        word_vectors (`WordVectors`, `str` or `PathLike`, *optional*): Word vectors, or a file of them.
        text_encoder (`TransformersQueryEncoder`, `str` or `PathLike`, *optional*): A text encoder of
            transformers.
        kwargs: As for every localization pipeline.

    Example:
    ```python
    >>> from transformers import pipeline
    >>> import bsp_hf
    >>> ground = pipeline("video-grounding", model="tan-charades")  # doctest: +SKIP
    >>> ground("kitchen.mp4", "a person opens the fridge", top_k=1)  # doctest: +SKIP
    [{'label': 'a person opens the fridge', 'score': 0.83, 'start_s': 3.8, 'end_s': 9.4}]
    ```
    """

    localizer_classes = tuple(NETWORKS)
    item_fields = ("query",)
    result_parameters = ("top_k",)

    def __init__(self, *args: Any, word_vectors: Any = None, text_encoder: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._network = NETWORKS[type(self.model)]
        self._reader: QueryReader | None = None
        self._reader_sources = {"word_vectors": word_vectors, "text_encoder": text_encoder}

    @property
    def reader(self) -> QueryReader:
        """The reader of the sentences; loaded when it is first used."""
        if self._reader is None:
            self._reader = QueryReader.from_pretrained(
                self.model.name_or_path or "",
                self.config,
                revision=loaded_revision(self.model),
                **self._reader_sources,
            )
        return self._reader

    def __call__(  # type: ignore[override]  # the sentence by position
        self, inputs: Any, query: str | Sequence[str] | None = None, **kwargs: Any
    ) -> Any:
        """Find moments; see the class.

        Args:
            inputs: One video or several.
            query (`str` or `Sequence[str]`, *optional*): The sentence or sentences, unless the inputs are
                dicts that hold them.
            kwargs: Parameters named in the class's description.

        Returns:
            [`LocalizedSegments`] for one video and sentence, else a list of them.

        Raises:
            VideoDecodeError: If the one video cannot be read.
            OSError: If the one video is not there, or what reads its query is absent.
            EncoderMismatchError: If a track was made by another encoder than the localizer was trained on.
            ValueError: If there is no sentence, or one holds no word.
        """
        _ = self.reader  # its absence is no fault of a video
        if isinstance(query, Sequence) and not isinstance(query, str) and isinstance(inputs, (list, tuple)):
            if len(query) != len(inputs):
                raise ValueError(
                    f"{len(inputs)} videos and {len(query)} sentences cannot be paired. For all sentences of "
                    "one video, give the video without a list around it."
                )
            inputs = [
                {"video": video, "query": sentence} for video, sentence in zip(inputs, query, strict=True)
            ]
            query = None
        return super().__call__(inputs, query=query, **kwargs)

    def preprocess(  # type: ignore[override]  # the parameters by name
        self,
        inputs: Any,  # Any: a video in any form, or a track
        query: str | Sequence[str] | None = None,
        **loading: Any,
    ) -> dict[str, Any]:
        """Return the network's rows of the video and words of the sentences."""
        if query is None or not len(query):
            raise ValueError(
                'there is no sentence: call with (video, "sentence") or {"video": ..., "query": ...}.'
            )
        sentences = [query] if isinstance(query, str) else list(query)
        queries = self.reader.read(sentences)
        track = self.make_track(inputs, **loading)
        state = {"track": track, "sentences": sentences, "is_one": isinstance(query, str)}
        if not track.num_snippets:
            return state
        duration_s = covered_span(track).duration_s
        samples = [
            self._network.make_sample(self.config, track.features, words, duration_s) for words in queries
        ]
        return {**state, "batch": dict(collate_grounding_samples(samples))}

    def _forward(self, model_inputs: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        return {**model_inputs, "output": self.model(**model_inputs.pop("batch"), return_dict=True)}

    def postprocess(  # type: ignore[override]  # the parameters by name
        self, model_outputs: dict[str, Any], top_k: int = 5
    ) -> LocalizedSegments | list[LocalizedSegments]:
        """Decode as published, inside the video and with the start first."""
        track, sentences = model_outputs["track"], model_outputs["sentences"]
        span = covered_span(track)
        durations_s = [span.duration_s] * len(sentences)
        found = self._network.decode(self.config, model_outputs["output"], durations_s, top_k)
        for moments in found:
            # LGI's published evaluation takes its two numbers as they come; a segment has to be one.
            moments.segments[:] = np.sort(moments.segments.clip(0, span.duration_s), axis=1)
        results = [
            result_of(track, describe_detections(moments, sentence, span.start_s)[:top_k])
            for moments, sentence in zip(found, sentences, strict=True)
        ]
        return results[0] if model_outputs["is_one"] else results

    def find_nothing(self, model_inputs: dict[str, Any]) -> LocalizedSegments | list[LocalizedSegments]:
        """Return the result of a video that is too short for a snippet, one for each sentence."""
        find = super().find_nothing
        results = [find(model_inputs) for _ in model_inputs["sentences"]]
        return results[0] if model_inputs["is_one"] else results

    def _companions(self) -> dict[str, Any]:
        reader = self.reader
        return {
            "vocabulary": reader.vocabulary,
            "word_vectors": reader.word_vectors,
            "text_encoder": reader.text_encoder,
        }
