"""What the localization pipelines have in common: inputs, refusals, failures, saving."""

import json
import shutil
import subprocess
import sys
from types import GeneratorType

import av
import datasets
import numpy as np
import pytest
import torch
from support.tiny_localizers import (
    SENTENCE,
    TASKS,
    tiny_encoder,
    tiny_extractor,
    tiny_localizer,
    tiny_track,
)
from transformers import AutoConfig, AutoModel, pipeline
from transformers.pipelines.pt_utils import KeyDataset

from bsp_hf import (
    FeatureTrack,
    PartialVideoWarning,
    VideoDecodeError,
    save_checkpoint_folder,
    save_localizer_folder,
)
from bsp_hf.encoder.provenance import HubOrigin
from bsp_hf.features import EncoderMismatchError, EncoderRecord
from bsp_hf.localization.localizer.segments import LocalizedSegments

KINDS = list(TASKS)


def options_of(kind):
    return {"query": SENTENCE} if TASKS[kind] == "video-grounding" else {}


@pytest.fixture(scope="module")
def pipes(localizer_folders):
    return {kind: pipeline(TASKS[kind], model=str(folder)) for kind, folder in localizer_folders.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_video_gives_segments_in_its_own_seconds(pipes, levels_video, kind):
    found = pipes[kind](str(levels_video), **options_of(kind))
    assert isinstance(found, LocalizedSegments) and isinstance(found, list)
    assert (found.video_id, found.complete, found.error) == ("levels", True, None)
    assert found.duration_s == pytest.approx(3.0)
    for segment in found:
        assert list(segment) == ["label", "score", "start_s", "end_s"]
        assert [type(value) for value in segment.values()] == [str, float, float, float]
        assert 0 <= segment["start_s"] <= segment["end_s"] <= 3.0 + 1e-9
    scores = [segment["score"] for segment in found]
    assert scores == sorted(scores, reverse=True) or kind == "actionness"


@pytest.mark.parametrize("kind", KINDS)
def test_a_track_and_the_video_it_was_made_of_give_the_same(pipes, extract, levels_video, kind):
    track = FeatureTrack.from_pipeline(extract(levels_video), video_id="levels")
    of_track, of_video = (pipes[kind](source, **options_of(kind)) for source in (track, levels_video))
    assert of_track == of_video
    assert of_track.duration_s == of_video.duration_s


@pytest.mark.parametrize("kind", KINDS)
def test_features_of_another_encoder_are_refused(pipes, kind):
    other = EncoderRecord("bsp-tiny", "weights-0123456789abcdef", "cafe", "float32")
    with pytest.raises(EncoderMismatchError, match="come from another encoder"):
        pipes[kind](tiny_track(encoder=other), **options_of(kind))
    with pytest.raises(EncoderMismatchError):
        pipes[kind]([tiny_track(encoder=other)], **options_of(kind))


def test_features_of_another_width_are_refused(tmp_path):
    folder = save_localizer_folder(tiny_localizer("gtad"), tmp_path)
    find = pipeline(TASKS["gtad"], model=str(folder))
    assert find(tiny_track()).error is None  # a config that names no encoder takes all
    with pytest.raises(ValueError, match="made are 12 wide, the localizer reads feature_dim=16"):
        find(tiny_track(dim=12))


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_video_in_a_list_stops_no_other(pipes, levels_video, broken_video, tiny_video, kind):
    options, pipe = options_of(kind), pipes[kind]
    first, broken, missing, short = pipe([levels_video, broken_video, "nowhere.mp4", tiny_video], **options)
    assert first == pipe(levels_video, **options)
    assert broken == missing == []
    assert (broken.video_id, missing.video_id) == ("broken", "nowhere")
    assert "broken.mp4" in broken.error and "nowhere.mp4" in missing.error
    assert short.error is None and short.duration_s == pytest.approx(0.12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_video_alone_raises(pipes, broken_video, kind):
    with pytest.raises(VideoDecodeError):
        pipes[kind](broken_video, **options_of(kind))
    with pytest.raises(OSError, match=r"nowhere\.mp4"):
        pipes[kind]("nowhere.mp4", **options_of(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_video_shorter_than_a_snippet_has_no_segments_where_nothing_is_padded(pipes, tiny_video, kind):
    found = pipes[kind](tiny_video, padding="drop", **options_of(kind))
    assert found == []
    assert found.error == "tiny is shorter than one snippet of 4 frames."


def test_videos_come_in_many_ways(pipes, levels_video, extract):
    find = pipes["actionness"]
    expected = find(levels_video)
    assert find([]) == []
    assert find(levels_video.read_bytes()) == expected
    with levels_video.open("rb") as file:
        assert find(file) == expected
    assert find({"video": levels_video}) == expected
    assert find({"bytes": None, "path": str(levels_video)}) == expected
    stream = find(path for path in [levels_video, levels_video])
    assert isinstance(stream, GeneratorType)
    assert list(stream) == [expected, expected]
    rows = KeyDataset([{"video": str(levels_video)}], "video")
    assert list(find(rows)) == [expected]
    assert find(levels_video, batch_size=4) == expected


class Stream(torch.utils.data.IterableDataset):
    """A data set without a length."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


@pytest.mark.parametrize("kind", ["actionness", "tan"])
def test_data_sets_are_streamed_with_and_without_a_length(pipes, levels_video, broken_video, kind):
    find, options = pipes[kind], options_of(kind)
    rows = [{"video": str(path), **options} for path in (levels_video, broken_video, levels_video)]
    expected = find(levels_video, **options)
    for data in (
        Stream(rows),
        datasets.Dataset.from_list(rows),
        datasets.Dataset.from_list(rows).to_iterable_dataset(),
        datasets.IterableDataset.from_generator(lambda: iter(rows)),
    ):
        stream = find(data)
        assert iter(stream) is stream
        first, broken, last = stream
        assert first == last == expected and broken == [] and "broken.mp4" in broken.error


def test_frames_in_memory_need_their_rate(pipes):
    frames = np.random.default_rng(0).integers(0, 255, (30, 40, 48, 3), dtype=np.uint8)
    assert pipes["gtad"](frames, input_fps=10.0).duration_s == pytest.approx(3.0)
    with pytest.raises(ValueError, match="input_fps"):
        pipes["gtad"](frames)


def test_a_part_of_a_video_keeps_the_videos_seconds(pipes, levels_video):
    for kind in ("gtad", "lgi", "actionness"):
        part = pipes[kind](levels_video, start_s=1.0, end_s=2.2, **options_of(kind))
        assert part or kind == "actionness"
        for segment in part:
            assert 1.0 - 1e-9 <= segment["start_s"] <= segment["end_s"] <= 2.2 + 1e-9


def test_unknown_parameters_and_entries_are_named(pipes, levels_video):
    with pytest.raises(TypeError, match="temporal-action-localization has no parameter query"):
        pipes["gtad"](levels_video, query="x")
    with pytest.raises(TypeError, match="has no entry sentence; it takes video, query"):
        pipes["tan"]({"video": levels_video, "sentence": "x"})
    with pytest.raises(TypeError, match="needs a ActionnessModel, the model is a GTADFor"):
        pipeline("step-localization", model=tiny_localizer("gtad"))


def test_parameters_that_make_no_sense_are_refused_by_name(pipes, levels_video):
    for name, value in (("top_k", 0), ("batch_size", -1), ("num_workers", -1), ("threshold", 2.0)):
        with pytest.raises(ValueError, match=f"{name}={value}"):
            pipes["gtad"](levels_video, **{name: value})
    with pytest.raises(ValueError, match="threshold=nan"):
        pipes["actionness"](levels_video, threshold=float("nan"))


def test_the_grid_it_was_trained_on_is_the_grid_that_is_extracted(tmp_path, encoder_folder, levels_video):
    model = tiny_localizer("actionness", feature_fps=10, feature_stride_frames=3)
    find = pipeline(TASKS["actionness"], model=model, encoder=str(encoder_folder))
    track = find.make_track(levels_video)
    assert (track.record.fps, track.record.stride_frames) == (10.0, 3)


def test_without_an_encoder_features_are_served_and_videos_refused(tmp_path, levels_video):
    record = EncoderRecord("bsp-tiny", "weights-0123456789abcdef", "cafe", "float32")
    folder = save_localizer_folder(tiny_localizer("gtad", encoder=record.to_dict()), tmp_path / "alone")
    find = pipeline(TASKS["gtad"], model=str(folder))
    assert len(find(tiny_track(encoder=record)))
    with pytest.raises(FileNotFoundError, match=r"was trained on features of bsp-tiny.*Pass encoder="):
        find([levels_video])
    find.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").is_file()
    assert not (tmp_path / "again" / "encoder").exists()


def test_an_encoder_that_is_another_is_refused(tmp_path, localizer_folders, encoder_folder, levels_video):
    other = (tiny_encoder(seed=5), tiny_extractor())
    find = pipeline(TASKS["gtad"], model=str(localizer_folders["gtad"]), encoder=other)
    with pytest.raises(EncoderMismatchError, match="Pass the one that it was trained on"):
        find(levels_video)
    model = AutoModel.from_pretrained(localizer_folders["gtad"])
    with pytest.raises(EncoderMismatchError, match="Pass the one that it was trained on"):
        save_localizer_folder(model, tmp_path, encoder=other)
    same = pipeline(TASKS["gtad"], model=str(localizer_folders["gtad"]), encoder=str(encoder_folder))
    assert same(levels_video) == pipeline(TASKS["gtad"], model=str(localizer_folders["gtad"]))(levels_video)


@pytest.mark.parametrize("kind", ["gtad", "tan", pytest.param("lgi", marks=pytest.mark.slow)])
def test_a_saved_pipeline_carries_all_its_parts(pipes, levels_video, tmp_path, kind):
    pipes[kind].save_pretrained(tmp_path / "copy")
    assert (tmp_path / "copy" / "encoder" / "model.safetensors").is_file()
    # One level of folders is what a push to the Hub takes along.
    assert not [path for path in (tmp_path / "copy").glob("*/*") if path.is_dir()]
    again = pipeline(TASKS[kind], model=str(tmp_path / "copy"))
    options = options_of(kind)
    assert again(levels_video, **options) == pipes[kind](levels_video, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_auto_classes_know_the_localizers(localizer_folders, kind):
    config = AutoConfig.from_pretrained(localizer_folders[kind])
    assert config.model_type == kind
    model = AutoModel.from_pretrained(localizer_folders[kind])
    expected = tiny_localizer(kind)
    assert type(model) is type(expected)
    for name, value in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


def test_the_copy_of_an_encoder_is_the_encoder_under_any_name(tmp_path, encoder_folder, levels_video):
    """A localizer trained on features of a commit on the Hub, saved with that encoder from its own folder."""
    model = tiny_localizer("gtad")
    encoder, extractor = AutoModel.from_pretrained(encoder_folder), tiny_extractor()
    encoder.hub_origin = HubOrigin(encoder.name_or_path, "c" * 40)
    folder = save_localizer_folder(model, tmp_path / "gtad", encoder=(encoder, extractor))
    config = AutoConfig.from_pretrained(folder)
    assert (config.encoder["revision"], config.encoder_copy["revision"][:8]) == ("c" * 40, "weights-")
    find = pipeline(TASKS["gtad"], model=str(folder))
    expected = find(levels_video)
    renamed = save_checkpoint_folder(tiny_encoder(), extractor, tmp_path / "renamed")
    track = FeatureTrack.from_pipeline(
        pipeline("video-feature-extraction", model=str(renamed))(levels_video), video_id="v"
    )
    assert find(track) == expected


def test_features_of_two_encoders_are_joined(tmp_path, encoder_folder, levels_video):
    second = save_checkpoint_folder(tiny_encoder(seed=3), tiny_extractor(), tmp_path / "second")
    model = tiny_localizer("gtad", feature_dim=32)
    folder = save_localizer_folder(model, tmp_path / "joined", encoder=[encoder_folder, second])
    assert (folder / "encoder_2" / "config.json").is_file()
    find = pipeline(TASKS["gtad"], model=str(folder))
    assert find.make_track(levels_video).dim == 32
    assert len(find(levels_video))
    swapped = pipeline(TASKS["gtad"], model=str(folder), encoder=[str(second), str(encoder_folder)])
    with pytest.raises(EncoderMismatchError):
        swapped(levels_video)


def test_a_partial_video_says_so(pipes, levels_video, tmp_path):
    cut = tmp_path / "cut.mkv"
    with av.open(str(levels_video)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    cut.write_bytes(cut.read_bytes()[: -cut.stat().st_size // 6])
    with pytest.warns(PartialVideoWarning):
        found = pipes["actionness"](cut)
    assert "it ends at" in found.error and not found.complete
    assert 0 < found.duration_s < 2.9
    assert found.times_s[-1] < found.duration_s


SCRIPT = """
import json, sys
import bsp_hf
from transformers import pipeline
folder, task, video, query = sys.argv[1:]
found = pipeline(task, model=folder)({"video": video, **({"query": query} if query else {})})
print(json.dumps([found, found.video_id]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gtad", "lgi"])
def test_a_folder_works_in_a_fresh_process(pipes, localizer_folders, levels_video, tmp_path, kind):
    moved = shutil.copytree(localizer_folders[kind], tmp_path / "moved")
    query = options_of(kind).get("query", "")
    command = [sys.executable, "-c", SCRIPT, str(moved), TASKS[kind], str(levels_video), query]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    segments, name = json.loads(printed)
    assert name == "levels"
    expected = pipes[kind](levels_video, **options_of(kind))
    assert len(segments) == len(expected) > 0
    for got, wanted in zip(segments, expected, strict=True):
        assert got["score"] == pytest.approx(wanted["score"], rel=1e-4)
        assert got["start_s"] == pytest.approx(wanted["start_s"], abs=1e-4)


def test_segments_print_as_a_table_and_are_drawn_in_notebooks():
    step = {"label": "<b>step", "score": 0.9, "start_s": 1.0, "end_s": 2.5}
    times_s, scores = np.linspace(0, 10, 5000), np.linspace(0, 1, 5000)
    found = LocalizedSegments([step] * 30, "v", 10.0, times_s=times_s, scores=scores)
    lines = repr(found).splitlines()
    assert lines[0] == "<LocalizedSegments 'v' (10.00 s): 30 found" and lines[-1] == "  and 10 more>"
    assert lines[1] == "       1.00 s      2.50 s  0.900  <b>step"
    shown = found._repr_html_()
    assert shown.count("<rect") == 30 and "<polyline" in shown and "&lt;b&gt;step" in shown
    assert len(shown) < 40_000 and "<b>" not in shown
    boundary = LocalizedSegments([{**step, "time_s": 1.7}], error="cut")
    assert boundary.complete is False and "\n       1.70 s  0.900  <b>step\n  cut>" in repr(boundary)
    assert list(LocalizedSegments()) == [] and "0 found" in LocalizedSegments()._repr_html_()
