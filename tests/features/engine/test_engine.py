"""The extraction engine: the pipeline's features, whatever the threads and batches, and how it fails."""

import io
import threading
import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.rendered import render_video
from support.tiny import randomize, tiny_config, tiny_extractor
from transformers import (
    TimesformerConfig,
    TimesformerModel,
    VideoMAEConfig,
    VideoMAEImageProcessor,
    VideoMAEModel,
    pipeline,
)

from bsp_hf import (
    BSPConfig,
    BSPFeatureExtractor,
    BSPForBoundaryClassification,
    BSPModel,
    ExtractionEngine,
    FeatureTrack,
    VideoDecodeError,
)
from bsp_hf.encoder import thread_pool as worker_pool
from bsp_hf.encoder import video_snippets
from bsp_hf.encoder.video_file import VideoFile
from bsp_hf.features.engine import engine as engine_module

TASK = "video-feature-extraction"
SIZE = (48, 40)


@pytest.fixture(scope="module")
def model():
    return randomize(BSPForBoundaryClassification(tiny_config())).eval()


@pytest.fixture(scope="module")
def engine(model):
    return ExtractionEngine(model, tiny_extractor(), dtype="float32", num_threads=2)


@pytest.fixture(scope="module")
def reference(model):
    return pipeline(TASK, model=model, feature_extractor=tiny_extractor())


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """61 frames, 7 whole snippets and one of five frames."""
    return render_video(tmp_path_factory.mktemp("videos") / "v.mkv", 61, size=SIZE, codec="ffv1")


def assert_same_track(track: FeatureTrack, expected: FeatureTrack):
    np.testing.assert_allclose(track.features, expected.features, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(track.centers_s, expected.centers_s)
    assert track.record == expected.record


# --- the pipeline's features -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"stride_frames": 3},
        {"stride_frames": 11},
        {"fps": 10.0, "padding": "drop"},
        {"start_s": 0.3, "end_s": 1.7},
    ],
)
def test_track_is_what_the_pipeline_gives(engine, reference, video, parameters):
    expected = FeatureTrack.from_pipeline(reference(video, **parameters), video_id="v")
    track = engine.extract(video, video_id="v", **parameters)
    assert len(track.features) > 2
    assert_same_track(track, expected)


def test_other_video_models_run_with_their_own_processor(video):
    settings = {"image_size": 32, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    processor = VideoMAEImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32})
    for config, model_class in (
        (VideoMAEConfig(**settings, num_frames=4, intermediate_size=8), VideoMAEModel),
        (TimesformerConfig(**settings, num_frames=4, intermediate_size=8), TimesformerModel),
    ):
        other = model_class(config).eval()
        expected = pipeline(TASK, model=other, image_processor=processor)(video)
        track = ExtractionEngine(other, processor, dtype="float32").extract(video, video_id="v")
        assert track.record.snippet_frames == 4
        assert_same_track(track, FeatureTrack.from_pipeline(expected, video_id="v"))


def test_rows_do_not_depend_on_threads_and_batches(model, video):
    tracks = [
        ExtractionEngine(
            model, tiny_extractor(), dtype="float32", num_threads=threads, batch_size=batch
        ).extract(video, video_id="v", stride_frames=2)
        for threads, batch in ((1, 1), (1, 4), (3, 1), (4, 5))
    ]
    for track in tracks[1:]:
        assert_same_track(track, tracks[0])


def test_overlapping_windows_give_the_rows_of_the_same_windows(engine, video):
    dense = engine.extract(video, video_id="v", stride_frames=1, padding="drop")
    apart = engine.extract(video, video_id="v", stride_frames=8, padding="drop")
    assert len(dense.features) == 54
    np.testing.assert_allclose(dense.features[::8], apart.features, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(dense.centers_s[::8], apart.centers_s)


def test_every_frame_is_resized_once(model, video, monkeypatch):
    extractor = tiny_extractor()
    resized = []
    original = extractor.resize_and_crop
    monkeypatch.setattr(extractor, "resize_and_crop", lambda f: resized.append(len(f)) or original(f))
    engine = ExtractionEngine(model, extractor, dtype="float32", num_threads=2)
    resized.clear()
    engine.extract(video, video_id="v", stride_frames=1)
    assert resized == [1] * 61
    resized.clear()
    engine.extract(video, video_id="v", stride_frames=16)  # the frames between two windows are in none
    assert len(resized) == 8 * 4


def test_a_video_of_no_rows_gives_an_empty_track(engine, video):
    track = engine.extract(video, video_id="v", start_s=2.3, padding="drop")
    assert track.features.shape == (0, 32)
    assert track.record.complete


def test_the_model_is_left_as_it_is(video):
    model = randomize(BSPForBoundaryClassification(tiny_config())).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ExtractionEngine(model, tiny_extractor(), dtype="bfloat16").extract(video, video_id="v")
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())


# --- failures ----------------------------------------------------------------------------------------------


def test_a_broken_file_raises_the_readers_error(engine, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"this is no video " * 50)
    with pytest.raises(VideoDecodeError, match=r"broken\.mp4"):
        engine.extract(broken, video_id="v")
    with pytest.raises(FileNotFoundError):
        engine.extract(tmp_path / "none.mp4", video_id="v")


def test_a_partial_file_gives_an_incomplete_track(engine, tmp_path):
    path = render_video(tmp_path / "v.mkv", 40, size=SIZE, codec="mjpeg")
    path.write_bytes(path.read_bytes()[:-9000])
    with pytest.warns(UserWarning, match="frames were decoded"):
        track = engine.extract(path, video_id="v")
    assert 0 < len(track.features) < 5
    assert not track.record.complete
    assert track.record.error


def test_an_error_of_the_encoder_is_raised_at_once(model, video, monkeypatch):
    engine = ExtractionEngine(model, tiny_extractor(), dtype="float32", num_threads=2, batch_size=1)
    calls = []

    def fail(*_):
        calls.append(1)
        if len(calls) == 3:
            raise MemoryError("no room")
        return torch.zeros(1, 32)

    monkeypatch.setattr(engine_module, "encode_clips", fail)
    with pytest.raises(MemoryError, match="no room"):
        engine.extract(video, video_id="v", stride_frames=1)
    assert len(calls) < 10
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("features-")]


def test_interruption_ends_the_threads(engine, video):
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.extract(video, video_id="v", stride_frames=1, progress=interrupt)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("features-")]


def test_a_read_that_never_returns_is_given_up(engine, video, monkeypatch):
    class HangingFile:
        """Hangs in the middle of a read, where no reader can look at the clock."""

        def __init__(self):
            self.file, self.released = io.BytesIO(video.read_bytes()), threading.Event()

        def read(self, size):
            if self.file.tell() > 4000:
                self.released.wait(60)
                return b""
            return self.file.read(min(size, 4096))

    monkeypatch.setattr(engine_module, "_GRACE_S", 0.2)
    file = HangingFile()
    began_s = time.monotonic()
    try:
        with pytest.raises(VideoDecodeError, match=r"v7: no frame came within 0\.3 s"):
            engine.extract(file, video_id="v7", timeout_s=0.3)
        assert time.monotonic() - began_s < 30
    finally:
        file.released.set()


def test_a_late_start_is_no_reason_to_give_up_while_frames_come(engine, video, monkeypatch):
    original = VideoFile.decode

    def decode_slowly(self, packet, is_wanted=True):
        time.sleep(0.02)
        return original(self, packet, is_wanted)

    monkeypatch.setattr(VideoFile, "decode", decode_slowly)
    monkeypatch.setattr(worker_pool, "_SECONDS_BETWEEN_CHECKS", 0.01)
    monkeypatch.setattr(engine_module, "_GRACE_S", 0.0)
    track = engine.extract(
        video, video_id="v", start_s=1.8, timeout_s=0.7
    )  # the first row takes over a second
    assert len(track.features) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "int4"}, "'int4' is not one of auto, float32"),
        ({"dtype": "float16"}, "needs a GPU"),
        ({"num_threads": 0}, "num_threads must be at least 1"),
        ({"batch_size": -1}, "batch_size must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(model, settings, message):
    with pytest.raises(ValueError, match=message):
        ExtractionEngine(model, tiny_extractor(), **settings)


# --- what is held ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edge", "dtype", "expected"),
    [(224, "float32", 2), (112, "float32", 6), (96, "bfloat16", 8), (32, "float32", 8)],
)
def test_small_pictures_go_through_the_encoder_in_larger_batches(model, edge, dtype, expected):
    extractor = tiny_extractor(size={"shortest_edge": edge}, crop_size={"height": edge, "width": edge})
    assert ExtractionEngine(model, extractor, dtype=dtype).batch_size == expected


def test_no_more_batches_exist_than_threads(model, video, monkeypatch):
    engine = ExtractionEngine(model, tiny_extractor(), dtype="float32", num_threads=2, batch_size=2)
    lock, counts = threading.Lock(), {"made": 0, "done": 0, "most": 0}

    class CountingSnippets(video_snippets.VideoSnippets):
        def __iter__(self):
            for snippet in super().__iter__():
                with lock:
                    counts["made"] += 1
                    counts["most"] = max(counts["most"], counts["made"] - counts["done"])
                yield snippet

    original = engine._encode

    def encode(snippets):
        rows = original(snippets)
        with lock:
            counts["done"] += len(snippets)
        return rows

    monkeypatch.setattr(engine_module, "VideoSnippets", CountingSnippets)
    monkeypatch.setattr(engine, "_encode", encode)
    track = engine.extract(video, video_id="v", stride_frames=1)
    assert counts["made"] == len(track.features) == 54
    assert counts["most"] <= 4


def test_progress_counts_rows_and_seconds(engine, video):
    seen = []
    track = engine.extract(video, video_id="v", progress=seen.append)
    assert [state.num_snippets for state in seen] == list(range(1, len(track.features) + 1))
    assert [state.center_s for state in seen] == track.centers_s.tolist()
    assert all(0 <= state.waiting_share <= 1 for state in seen)


def test_torchs_threads_are_as_before(engine, video):
    before = torch.get_num_threads()
    engine.extract(video, video_id="v")
    assert torch.get_num_threads() == before
    in_new_thread = []
    thread = threading.Thread(target=lambda: in_new_thread.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert in_new_thread == [before]


# --- number types and devices ------------------------------------------------------------------------------


def worst_cosine(track: FeatureTrack, expected: FeatureTrack) -> float:
    return float(F.cosine_similarity(torch.tensor(track.features), torch.tensor(expected.features)).min())


def test_bfloat16_is_close_and_recorded(model, engine, video):
    track = ExtractionEngine(model, tiny_extractor(), dtype="bfloat16").extract(video, video_id="v")
    expected = engine.extract(video, video_id="v")
    assert track.features.dtype == np.float32
    assert track.record.encoder.dtype == "bfloat16"
    assert not track.record.encoder.differences(expected.record.encoder)
    assert worst_cosine(track, expected) > 0.999


@pytest.mark.slow
def test_bfloat16_on_real_video_has_a_cosine_above_0_999(shared_data):
    torch.manual_seed(0)
    real = BSPModel(BSPConfig.from_backbone_name("resnet18")).eval()
    path = shared_data / "untrimmed_mini" / "v_GGSY1Qvo990.mp4"
    extractor = BSPFeatureExtractor(size={"shortest_edge": 128}, crop_size={"height": 112, "width": 112})
    exact, rough = (
        ExtractionEngine(real, extractor, dtype=dtype).extract(path, video_id="v", end_s=3.0)
        for dtype in ("float32", "bfloat16")
    )
    assert len(exact.features) >= 7
    assert worst_cosine(rough, exact) > 0.999
    relative = np.linalg.norm(rough.features - exact.features) / np.linalg.norm(exact.features)
    assert relative < 0.02
    # The mean of all rows apart, which is most of an untrained network's feature: rows still look alike.
    centred = [
        FeatureTrack(track.features - exact.features.mean(0), track.centers_s, track.record)
        for track in (exact, rough)
    ]
    assert worst_cosine(centred[1], centred[0]) > 0.95


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-3), ("bfloat16", 0.03), ("float16", 0.01)])
def test_gpu_gives_the_features_of_the_cpu(model, engine, video, dtype, tolerance):
    on_gpu = ExtractionEngine(model, tiny_extractor(), dtype=dtype, device="cuda", batch_size=3)
    for parameters in ({}, {"stride_frames": 2}):
        track = on_gpu.extract(video, video_id="v", **parameters)
        expected = engine.extract(video, video_id="v", **parameters)
        error = np.linalg.norm(track.features - expected.features) / np.linalg.norm(expected.features)
        assert error < tolerance
        np.testing.assert_array_equal(track.centers_s, expected.centers_s)


@pytest.mark.gpu
def test_gpu_takes_bfloat16_where_it_has_it_and_reports_its_waiting(model, video):
    on_gpu = ExtractionEngine(model, tiny_extractor(), device="cuda")
    has_it = torch.cuda.get_device_capability() >= (8, 0)
    assert on_gpu.dtype == (torch.bfloat16 if has_it else torch.float32)
    seen = []
    on_gpu.extract(video, video_id="v", progress=seen.append)
    assert 0 <= seen[-1].waiting_share <= 1
