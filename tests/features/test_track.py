import json
import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
from support.made_tracks import ENCODER, OTHER, make_track
from transformers import ResNetConfig

from bsp_hf import BSPConfig, BSPFeatureExtractor, BSPModel, VideoFeatureExtractionPipeline
from bsp_hf.features import (
    EncoderMismatchError,
    EncoderRecord,
    FeatureFileError,
    FeatureTrack,
    TrackRecord,
    check_same_encoder,
    concatenate_tracks,
)


def pipeline_result(**changes):
    return {
        "features": np.arange(6, dtype=np.float32).reshape(3, 2),
        "centers_s": np.array([0.16, 0.48, 0.76]),
        "fps": 25.0,
        "snippet_frames": 8,
        "stride_frames": 8,
        "num_frames": 22,
        "duration_s": 0.88,
        "complete": True,
        "error": None,
        "encoder": ENCODER.to_dict(),
        **changes,
    }


def test_pipeline_result_becomes_a_track_with_its_whole_record():
    track = FeatureTrack.from_pipeline(pipeline_result(), video_id="kitchen/v1")
    assert (track.num_snippets, track.dim) == (3, 2)
    np.testing.assert_array_equal(track.features, [[0, 1], [2, 3], [4, 5]])
    np.testing.assert_array_equal(track.centers_s, [0.16, 0.48, 0.76])
    record = track.record
    assert record.video_id == "kitchen/v1"
    assert record.encoder == ENCODER
    assert (record.fps, record.snippet_frames, record.stride_frames) == (25.0, 8, 8)
    assert (record.num_frames, record.duration_s, record.complete) == (22, 0.88, True)
    assert "libavcodec" in record.decoder_version
    assert record.format_version == 1


def test_real_pipeline_gives_what_a_track_needs():
    backbone = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], layer_type="basic"
    )
    extract = VideoFeatureExtractionPipeline(
        model=BSPModel(BSPConfig(backbone_config=backbone)).eval(),
        feature_extractor=BSPFeatureExtractor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
    )
    result = extract(np.zeros((20, 32, 32, 3), dtype=np.uint8), input_fps=10.0)
    track = FeatureTrack.from_pipeline(result, video_id="black")
    np.testing.assert_array_equal(track.features, result["features"])
    # Windows of 8 frames at 10 a second; the last holds four.
    np.testing.assert_allclose(track.centers_s, [0.4, 1.2, 1.8])
    record = track.record
    assert (record.num_frames, record.duration_s, record.fps) == (20, 2.0, 10.0)
    assert record.encoder.to_dict() == result["encoder"]
    check_same_encoder(track, result["encoder"])


def test_pipeline_tensors_give_the_same_track_as_arrays():
    tensors = pipeline_result(
        features=torch.arange(6.0).reshape(3, 2),
        centers_s=torch.tensor([0.16, 0.48, 0.76], dtype=torch.float64),
    )
    assert FeatureTrack.from_pipeline(tensors, video_id="v") == FeatureTrack.from_pipeline(
        pipeline_result(), video_id="v"
    )


def test_bfloat16_features_become_float32():
    track = replace(make_track(), features=torch.full((5, 4), 0.5, dtype=torch.bfloat16))
    assert track.features.dtype == np.float32
    assert (track.features == 0.5).all()


def test_partly_read_video_keeps_its_reason():
    track = FeatureTrack.from_pipeline(
        pipeline_result(complete=False, error="truncated at 0.88 s"), video_id="v"
    )
    assert not track.record.complete
    assert track.record.error == "truncated at 0.88 s"


def test_unreadable_video_gives_its_error_and_no_track():
    result = pipeline_result(
        features=np.empty((0, 2), np.float32),
        centers_s=np.empty(0),
        complete=False,
        error="clip.mp4 holds no video",
        fps=None,
    )
    with pytest.raises(ValueError, match=r"v1.*clip\.mp4 holds no video"):
        FeatureTrack.from_pipeline(result, video_id="v1")


def test_result_without_a_field_is_refused_by_name():
    result = pipeline_result()
    del result["stride_frames"]
    with pytest.raises(ValueError, match="stride_frames"):
        FeatureTrack.from_pipeline(result, video_id="v1")


def test_rows_are_kept_time_first_contiguous_float32():
    turned = np.arange(6.0).reshape(2, 3).T
    track = replace(make_track(num_snippets=3, dim=2), features=turned)
    assert track.features.flags.c_contiguous
    assert track.features.dtype == np.float32
    assert track.centers_s.dtype == np.float64
    np.testing.assert_array_equal(track.features, turned)


@pytest.mark.parametrize(
    ("features", "centers_s", "message"),
    [
        (np.zeros(512), [0.1], r"\(num_snippets, dim\), got \(512,\)"),
        (np.zeros((2, 3, 4)), [0.1, 0.2], r"got \(2, 3, 4\)"),
        (np.zeros((2, 0)), [0.1, 0.2], r"got \(2, 0\)"),
        (np.zeros((2, 3)), [0.1], "one time for each of 2 rows"),
        (np.zeros((2, 3)), [0.2, 0.1], "ascend"),
        (np.zeros((2, 3)), [0.1, np.nan], "finite"),
    ],
)
def test_wrong_shapes_and_times_are_refused(features, centers_s, message):
    with pytest.raises(ValueError, match=message):
        FeatureTrack(features, centers_s, make_track().record)


def test_objects_are_no_features():
    with pytest.raises(TypeError, match="real numbers"):
        FeatureTrack(np.array([["a"]]), [0.1], make_track().record)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("fps", 0.0, "fps must be positive"),
        ("fps", float("nan"), "fps must be finite"),
        ("fps", "25", "fps must be a number"),
        ("snippet_frames", 0, "snippet_frames"),
        ("stride_frames", 2.5, "stride_frames must be a whole number"),
        ("num_frames", -1, "num_frames"),
        ("num_frames", True, "num_frames"),
        ("duration_s", -0.1, "duration_s"),
        ("complete", 1, "complete"),
        ("error", 3, "error"),
        ("format_version", 99, "update bsp_hf"),
        ("rescaled_from", 0, "rescaled_from"),
        ("encoder", "r18", "encoder"),
    ],
)
def test_record_refuses_values_out_of_range_by_name(field, value, message):
    with pytest.raises((ValueError, TypeError), match=message):
        replace(make_track().record, **{field: value})


@pytest.mark.parametrize(
    "video_id", ["", "..", "a/../b", "/etc/passwd", "a//b", "a\\b", "C:x", "a\0b", "a\nb", "./a", "a/"]
)
def test_ids_cannot_leave_their_folder(video_id):
    with pytest.raises(ValueError, match="video id"):
        make_track(video_id=video_id)


@pytest.mark.parametrize("video_id", ["v_-abc", "kitchen/v1", "clip.v2", "-x", "..x", "ünï"])
def test_usual_ids_are_taken(video_id):
    assert make_track(video_id=video_id).record.video_id == video_id


def test_record_survives_json():
    record = make_track(fps=30000 / 1001, error="x", complete=False, rescaled_from=7).record
    assert TrackRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_numpy_numbers_in_a_record_become_plain_ones():
    record = make_track(fps=np.float32(25), num_frames=np.int64(40)).record
    json.dumps(record.to_dict())
    assert type(record.num_frames) is int
    assert type(record.fps) is float


def test_record_without_a_field_names_it():
    values = make_track().record.to_dict()
    del values["duration_s"]
    with pytest.raises(ValueError, match="duration_s"):
        TrackRecord.from_dict(values)
    with pytest.raises(TypeError, match="mapping"):
        TrackRecord.from_dict([values])
    broken_encoder = {**make_track().record.to_dict(), "encoder": {"id": "x"}}
    with pytest.raises(ValueError, match="revision"):
        TrackRecord.from_dict(broken_encoder)


def test_tracks_are_frozen_and_compare_by_content():
    track = make_track()
    with pytest.raises(FrozenInstanceError):
        track.features = None
    assert track == make_track()
    assert track != replace(track, features=track.features + 1)
    assert track != replace(track, centers_s=track.centers_s + 1e-12)
    assert track != replace(track, record=replace(track.record, num_frames=1))
    assert track != "track"


def test_track_survives_pickling_between_workers():
    assert pickle.loads(pickle.dumps(make_track())) == make_track()
    error = pickle.loads(pickle.dumps(FeatureFileError("a.npy", "shape", "is wrong")))
    assert str(error) == "a.npy: shape: is wrong"


def test_rows_of_another_tool_lie_on_the_grid_it_states():
    track = FeatureTrack.from_rows(
        np.zeros((3, 512)),
        video_id="v1",
        encoder="tsp",
        fps=15.0,
        snippet_frames=16,
        stride_frames=16,
        duration_s=3.5,
    )
    np.testing.assert_allclose(track.centers_s, [8 / 15, 24 / 15, 40 / 15])
    assert track.record.encoder.id == "tsp"
    assert track.record.duration_s == 3.5


def test_rows_of_another_tool_need_a_frame_rate():
    with pytest.raises(ValueError, match="fps must be positive"):
        FeatureTrack.from_rows(
            np.zeros((3, 4)), video_id="v", encoder="tsp", fps=0, snippet_frames=8, stride_frames=8
        )


class TestEncoder:
    def test_same_encoder_passes(self):
        check_same_encoder(make_track(), ENCODER)
        check_same_encoder(make_track(), ENCODER.to_dict())

    def test_other_weights_are_refused_with_both_named(self):
        with pytest.raises(EncoderMismatchError, match="vanilla-tsm-r18") as caught:
            check_same_encoder(make_track(), OTHER)
        assert "bsp-tsm-r18" in str(caught.value)
        assert "revision" in str(caught.value)
        assert "v_one" in str(caught.value)

    def test_other_settings_are_refused(self):
        with pytest.raises(EncoderMismatchError, match="settings_hash"):
            check_same_encoder(make_track(), replace(ENCODER, settings_hash="0"))

    def test_renamed_folder_holds_the_same_encoder(self):
        check_same_encoder(make_track(), replace(ENCODER, id="renamed"))

    def test_number_type_is_no_other_encoder(self):
        check_same_encoder(make_track(), replace(ENCODER, dtype="bfloat16"))

    @pytest.mark.parametrize("revision", ["unknown", "a" * 40])
    def test_without_a_digest_of_the_weights_the_name_counts(self, revision):
        track = make_track(encoder=replace(ENCODER, revision=revision))
        check_same_encoder(track, replace(ENCODER, revision=revision))
        with pytest.raises(EncoderMismatchError, match="different id"):
            check_same_encoder(track, replace(ENCODER, revision=revision, id="other"))

    def test_order_of_joined_encoders_counts(self):
        joined = make_track(encoder=EncoderRecord.join([ENCODER, OTHER]))
        check_same_encoder(joined, EncoderRecord.join([ENCODER, OTHER]).to_dict())
        with pytest.raises(EncoderMismatchError):
            check_same_encoder(joined, EncoderRecord.join([OTHER, ENCODER]))
        with pytest.raises(EncoderMismatchError, match="parts"):
            check_same_encoder(joined, ENCODER)

    def test_expected_encoder_without_a_field_is_refused(self):
        with pytest.raises(ValueError, match="revision"):
            check_same_encoder(make_track(), {"id": "x"})


class TestConcatenation:
    def test_channels_are_joined_in_order_and_the_record_names_both(self):
        first, second = make_track(dim=3), make_track(dim=2, encoder=OTHER, seed=1)
        joined = concatenate_tracks([first, second])
        np.testing.assert_array_equal(joined.features[:, :3], first.features)
        np.testing.assert_array_equal(joined.features[:, 3:], second.features)
        np.testing.assert_array_equal(joined.centers_s, first.centers_s)
        encoder = joined.record.encoder
        assert encoder.parts == (ENCODER, OTHER)
        assert encoder.id == "bsp-tsm-r18+vanilla-tsm-r18"
        assert TrackRecord.from_dict(json.loads(json.dumps(joined.record.to_dict()))) == joined.record

    def test_joining_joined_tracks_lists_every_part_once(self):
        first, second = make_track(), make_track(encoder=OTHER)
        nested = concatenate_tracks([concatenate_tracks([first, second]), first])
        assert nested.record.encoder.parts == (ENCODER, OTHER, ENCODER)
        assert nested == concatenate_tracks([first, second, first])

    def test_single_track_stays_what_it_is(self):
        assert concatenate_tracks([make_track()]) == make_track()

    def test_incomplete_part_makes_the_whole_incomplete(self):
        partial = make_track(encoder=OTHER, complete=False, error="truncated")
        joined = concatenate_tracks([make_track(), partial])
        assert not joined.record.complete
        assert joined.record.error == "truncated"

    @pytest.mark.parametrize(
        ("other", "message"),
        [
            (make_track(num_snippets=6), "5 and 6 rows"),
            (make_track(video_id="v_two"), "videos 'v_one' and 'v_two'"),
            (make_track(fps=30.0), "fps 25.0 and 30.0"),
            (make_track(stride_frames=4), "stride_frames 8 and 4"),
            (replace(make_track(), centers_s=make_track().centers_s + 0.01), "0.010 s apart"),
        ],
    )
    def test_tracks_that_do_not_fit_are_refused(self, other, message):
        with pytest.raises(ValueError, match=message):
            concatenate_tracks([make_track(), other])

    def test_nothing_cannot_be_joined(self):
        with pytest.raises(ValueError, match="at least one"):
            concatenate_tracks([])


def test_a_track_prints_as_one_line():
    track = make_track(complete="unknown")
    said = repr(track)
    assert said.startswith(
        f"<FeatureTrack {track.record.video_id!r}: {track.num_snippets} snippets x {track.dim} "
    )
    assert said.endswith(", perhaps cut>") and "array" not in said and "\n" not in said
    assert ", partial: cut off>" in repr(make_track(complete=False, error="cut off"))
