"""The preprocessing: equal to Pillow's, every accepted input, errors, and loading by the Auto classes."""

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from support.rendered import render_video
from support.tiny import randomize, tiny_config, tiny_extractor
from transformers import AutoFeatureExtractor, pipeline

# Not from the top: without torchvision, older releases have a stand-in there.
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from transformers.models.auto.video_processing_auto import AutoVideoProcessor

from bsp_hf import BSPFeatureExtractor, BSPForBoundaryClassification, VideoReader, save_checkpoint_folder
from bsp_hf.encoder.frames_in_memory import stack_frames

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def random_frames(num_frames: int, width: int, height: int, seed: int = 0) -> np.ndarray:
    """Noise over blocks and a slope: every frequency is in it."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 160, (num_frames, 5, 7, 3)).repeat(height // 5 + 1, 1).repeat(width // 7 + 1, 2)
    noise = rng.integers(0, 64, (num_frames, height, width, 3))
    slope = np.linspace(0, 31, width)[None, None, :, None]
    return (blocks[:, :height, :width] + noise + slope).astype(np.uint8)


def pillow_pixels(frame: np.ndarray, short_side: int, crop: int) -> np.ndarray:
    """Resize the short side and crop the centre with Pillow."""
    image = Image.fromarray(frame)
    width, height = image.size
    long_side = short_side * max(width, height) // min(width, height)
    size = (short_side, long_side) if width <= height else (long_side, short_side)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((image.width - crop) / 2), round((image.height - crop) / 2)
    return np.asarray(image.crop((left, top, left + crop, top + crop)))


@pytest.mark.parametrize(
    ("width", "height"),
    [
        (320, 240),
        (240, 320),
        (1280, 720),
        (341, 256),
        (256, 256),
        (131, 97),
        (97, 131),
        (500, 256),
        (24, 17),
        (9, 40),
    ],
)
def test_resized_and_cropped_frames_are_pillows(width, height):
    frames = random_frames(2, width, height)
    pixels = BSPFeatureExtractor().resize_and_crop(frames)
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (2, 3, 224, 224)
    expected = np.stack([pillow_pixels(frame, 256, 224) for frame in frames])
    difference = np.abs(pixels.permute(0, 2, 3, 1).numpy().astype(int) - expected.astype(int))
    assert difference.mean() <= 0.01
    assert difference.max() <= 1


@pytest.mark.parametrize(
    ("crop", "top", "left"), [((5, 4), 2, 3), ((4, 5), 2, 2), ((8, 10), 0, 0), ((7, 9), 0, 0)]
)
def test_crop_is_centred_with_halves_rounded_to_even(crop, top, left):
    """As torchvision and TSM have it: half of an odd margin is rounded to the even number."""
    rows, columns = np.mgrid[:8, :10]
    frames = np.stack([rows, columns, rows * 0], -1).astype(np.uint8)[None]
    extractor = BSPFeatureExtractor(do_resize=False, crop_size={"height": crop[0], "width": crop[1]})
    pixels = extractor.resize_and_crop(frames)[0]
    assert (int(pixels[0, 0, 0]), int(pixels[1, 0, 0])) == (top, left)
    assert tuple(pixels.shape[1:]) == crop


def test_values_are_scaled_and_normalised_by_channel():
    frames = random_frames(3, 40, 32)
    extractor = BSPFeatureExtractor(do_resize=False, do_center_crop=False)
    pixel_values = extractor(frames, return_tensors="np")["pixel_values"]
    assert pixel_values.dtype == np.float32
    assert pixel_values.shape == (1, 3, 3, 32, 40)
    expected = (frames / 255 - MEAN) / DEVIATION
    np.testing.assert_allclose(pixel_values[0], expected.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"do_normalize": False}, lambda x: x / 255),
        ({"do_rescale": False}, lambda x: (x - MEAN) / DEVIATION),
        ({"do_rescale": False, "do_normalize": False}, lambda x: x),
        (
            {"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3},
            lambda x: x / 127.5 - 1,
        ),
    ],
)
def test_each_step_can_be_switched_off_or_set(settings, expected):
    frames = random_frames(1, 20, 20)
    extractor = BSPFeatureExtractor(do_resize=False, do_center_crop=False, **settings)
    pixel_values = extractor(frames, return_tensors="np")["pixel_values"][0, 0].transpose(1, 2, 0)
    np.testing.assert_allclose(pixel_values, expected(frames[0].astype(float)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"do_center_crop": False},
        {"do_resize": False, "do_center_crop": False},
        {"do_normalize": False},
        {"do_rescale": False, "do_normalize": False},
        {"size": {"shortest_edge": 50}},
        {"size": 50},
        {"size": 50, "crop_size": 40},
        {"crop_size": (20, 30)},
        {"rescale_factor": 0.5, "image_mean": [0.1, 0.2, 0.3], "image_std": 2.0},
    ],
)
def test_options_of_a_call_do_what_the_settings_of_their_names_do(options):
    frames, extractor = random_frames(2, 60, 50), tiny_extractor()
    before = extractor.to_dict()
    expected = tiny_extractor(**options)(frames, return_tensors="pt")["pixel_values"]
    assert torch.equal(extractor(frames, return_tensors="pt", **options)["pixel_values"], expected)
    assert torch.equal(extractor.preprocess(frames, "pt", **options)["pixel_values"], expected)
    usual = extractor(frames, return_tensors="pt")["pixel_values"]
    assert usual.shape != expected.shape or not torch.equal(usual, expected)
    assert extractor.to_dict() == before
    nothing_said = dict.fromkeys(options)
    assert torch.equal(extractor(frames, return_tensors="pt", **nothing_said)["pixel_values"], usual)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"do_centre_crop": False}, TypeError, "do_centre_crop.*do_center_crop"),
        ({"size": 50, "resample": 3, "fps": 10.0}, TypeError, "fps, resample"),
        ({"num_frames": 8}, TypeError, "num_frames"),
        ({"size": (50, 60)}, ValueError, "size="),
        ({"size": 20}, ValueError, "larger than the resized short side 20"),
        ({"image_mean": [0.5, 0.5]}, ValueError, r"image_mean=\[0.5, 0.5\]"),
    ],
)
def test_options_of_a_call_that_are_unknown_or_bad_are_refused_by_name(options, error, message):
    with pytest.raises(error, match=message):
        tiny_extractor()(random_frames(2, 60, 50), **options)


def test_sizes_are_numbers_too_as_in_transformers(tmp_path):
    extractor = BSPFeatureExtractor(size=112, crop_size=96)
    assert extractor.size == {"shortest_edge": 112}
    assert extractor.crop_size == {"height": 96, "width": 96}
    extractor.save_pretrained(tmp_path)
    assert BSPFeatureExtractor.from_pretrained(tmp_path).to_dict() == extractor.to_dict()
    assert BSPFeatureExtractor.from_pretrained(tmp_path, size=128).size == {"shortest_edge": 128}
    assert BSPFeatureExtractor(size=224).size == {"shortest_edge": 224}


def test_golden_normalisation_is_the_default(golden):
    case = golden("tsm/tsm_resnet18")
    config = case.meta["config"]
    extractor = BSPFeatureExtractor()
    assert extractor.image_mean == config["mean"]
    assert extractor.image_std == config["std"]
    frames = case.inputs["frames_u8"]
    scaled = (frames[0].astype(np.float32) / 255 - np.float32(config["mean"])[:, None, None]) / np.float32(
        config["std"]
    )[:, None, None]
    np.testing.assert_allclose(extractor.normalize_pixels(torch.from_numpy(frames[0])), scaled, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_normalisation_rounds_step_by_step_and_leaves_its_input_alone(dtype):
    pixels = torch.arange(256).repeat(3).view(1, 3, 16, 16).to(dtype)
    before, extractor = pixels.clone(), BSPFeatureExtractor()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (extractor.image_mean, extractor.image_std))
    assert torch.equal(extractor.normalize_pixels(pixels), (before.float() * (1 / 255) - mean) / std)
    assert torch.equal(pixels, before)
    raw = BSPFeatureExtractor(do_rescale=False, do_normalize=False)
    assert torch.equal(raw.normalize_pixels(pixels), before.float())


def test_one_clip_can_be_given_in_many_ways():
    frames = random_frames(4, 50, 40)
    extractor = tiny_extractor()
    expected = extractor(frames, return_tensors="pt")["pixel_values"]
    assert expected.shape == (1, 4, 3, 32, 32)
    ways = {
        "tensor": torch.from_numpy(frames),
        "list of arrays": list(frames),
        "tuple of arrays": tuple(frames),
        "list of tensors": list(torch.from_numpy(frames)),
        "list of PIL images": [Image.fromarray(frame) for frame in frames],
        "list of one clip": [frames],
        "list of one list": [list(frames)],
        "batched array": frames[None],
    }
    for name, way in ways.items():
        assert torch.equal(extractor(way, return_tensors="pt")["pixel_values"], expected), name
    listed = extractor(frames)["pixel_values"]
    assert isinstance(listed, list)
    np.testing.assert_array_equal(listed[0], expected[0].numpy())


def test_several_clips_make_a_batch_whatever_their_sizes():
    extractor = tiny_extractor()
    clips = [random_frames(3, 50, 40, 1), random_frames(3, 33, 90, 2)]
    batch = extractor(clips, return_tensors="pt")["pixel_values"]
    assert batch.shape == (2, 3, 3, 32, 32)
    for clip, pixel_values in zip(clips, batch, strict=True):
        assert torch.equal(extractor(clip, return_tensors="pt")["pixel_values"][0], pixel_values)


def test_pil_images_of_other_modes_become_rgb():
    gray = Image.fromarray(np.full((40, 40), 77, np.uint8))
    opaque = gray.convert("RGBA")
    extractor = tiny_extractor(do_normalize=False, do_rescale=False)
    for image in (gray, opaque, gray.convert("RGB")):
        assert (extractor([image], return_tensors="pt")["pixel_values"] == 77).all()


@pytest.mark.parametrize("trouble", ["read-only", "mirrored", "strided"])
def test_any_numpy_memory_is_fine_and_stays_untouched(trouble):
    frames = random_frames(2, 50, 40)
    view = {"read-only": frames, "mirrored": frames[:, :, ::-1], "strided": frames[:, :, ::2]}[trouble]
    view.flags.writeable = trouble != "read-only"
    before = np.ascontiguousarray(view).copy()
    extractor = tiny_extractor()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixel_values = extractor(view, return_tensors="pt")["pixel_values"]
    assert torch.equal(pixel_values, extractor(before, return_tensors="pt")["pixel_values"])
    np.testing.assert_array_equal(view, before)


def test_pixels_are_stored_with_channels_last_for_the_convolutions():
    extractor = tiny_extractor()
    pixels = extractor.resize_and_crop(random_frames(2, 50, 40))
    assert pixels.stride(1) == 1
    assert extractor.normalize_pixels(pixels).stride(1) == 1


@pytest.mark.parametrize(
    ("videos", "error", "message"),
    [
        ([], ValueError, "No clip was given"),
        (np.zeros((0, 8, 8, 3), np.uint8), ValueError, r"at least one frame, got uint8 \(0, 8, 8, 3\)"),
        ([[]], ValueError, "at least one frame"),
        (np.zeros((8, 8, 3), np.uint8), ValueError, r"got uint8 \(8, 8, 3\)"),
        (np.zeros((2, 3, 8, 8), np.uint8), ValueError, r"got uint8 \(2, 3, 8, 8\)"),
        (np.zeros((2, 8, 8, 3), np.float32), ValueError, r"got float32"),
        (torch.zeros(2, 8, 8, 3), ValueError, r"got float32"),
        ([np.zeros((8, 8), np.uint8)], ValueError, r"got uint8 \(1, 8, 8\)"),
        ([np.zeros((8, 8, 3), np.uint8), np.zeros((9, 8, 3), np.uint8)], ValueError, "must have one size"),
        ("video.mp4", FileNotFoundError, "No such video file"),
        (Image.new("RGB", (8, 8)), TypeError, "not Image"),
        (None, TypeError, "not NoneType"),
    ],
)
def test_what_is_no_clip_is_refused_and_named(videos, error, message):
    with pytest.raises(error, match=message):
        tiny_extractor()(videos, return_tensors="pt")


def test_clips_that_come_out_in_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 3, 32, 32\), \(3, 3, 32, 32\)\] do not make one batch"):
        tiny_extractor()([random_frames(2, 50, 40), random_frames(3, 50, 40)], return_tensors="pt")


def test_frames_smaller_than_the_crop_are_refused():
    with pytest.raises(ValueError, match=r"20x30 pixels are smaller than the crop 32x32"):
        tiny_extractor(do_resize=False)(random_frames(2, 20, 30))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": {"height": 256, "width": 256}}, "size="),
        ({"size": {"shortest_edge": 0}}, "size="),
        ({"size": 0}, "size="),
        ({"image_std": [1.0]}, "image_std="),
        ({"crop_size": {"height": 224}}, "crop_size="),
        ({"crop_size": {"height": 0, "width": 3}}, "crop_size="),
        ({"size": {"shortest_edge": 100}}, "larger than the resized short side 100"),
        ({"num_frames": 0}, "num_frames=0"),
        ({"stride_frames": 0}, "stride_frames=0"),
        ({"fps": 0.0}, "fps=0.0"),
        ({"padding": "zero"}, "padding='zero' is not one of repeat, drop"),
    ],
)
def test_bad_settings_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        BSPFeatureExtractor(**settings)


def test_stride_defaults_to_the_snippet_length():
    assert BSPFeatureExtractor(num_frames=16).stride_frames == 16
    assert BSPFeatureExtractor(num_frames=16, stride_frames=4).stride_frames == 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint folder with unusual settings."""
    model = randomize(BSPForBoundaryClassification(tiny_config(num_frames=6)))
    extractor = tiny_extractor(
        num_frames=6, stride_frames=3, fps=10.0, padding="drop", image_mean=[0.1, 0.2, 0.3]
    )
    return save_checkpoint_folder(model, extractor, tmp_path_factory.mktemp("checkpoint"))


@pytest.mark.parametrize("auto_class", [AutoFeatureExtractor, AutoImageProcessor, AutoVideoProcessor])
def test_auto_classes_load_it_with_every_setting(auto_class, folder):
    loaded = auto_class.from_pretrained(folder)
    assert type(loaded) is BSPFeatureExtractor
    assert (loaded.num_frames, loaded.stride_frames, loaded.fps, loaded.padding) == (6, 3, 10.0, "drop")
    assert loaded.image_mean == [0.1, 0.2, 0.3]
    assert dict(loaded.size) == {"shortest_edge": 36}
    frames = random_frames(6, 50, 40)
    original = tiny_extractor(num_frames=6, image_mean=[0.1, 0.2, 0.3])
    expected = original(frames, return_tensors="pt")["pixel_values"]
    assert torch.equal(loaded(frames, return_tensors="pt")["pixel_values"], expected)


def test_saving_and_loading_changes_no_setting(tmp_path):
    extractor = tiny_extractor(fps=12.5, do_normalize=False)
    extractor.save_pretrained(tmp_path)
    loaded = BSPFeatureExtractor.from_pretrained(tmp_path)
    assert loaded.to_dict() == extractor.to_dict()
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert saved["image_processor_type"] == saved["feature_extractor_type"] == "BSPFeatureExtractor"


def test_stock_video_classification_pipeline_works(folder, tmp_path):
    video = render_video(tmp_path / "video.mp4", 20, size=(64, 48))
    classify = pipeline("video-classification", model=str(folder))
    scores = classify(str(video), top_k=4)
    assert {score["label"] for score in scores} == {"diff-class", "same-class", "diff-speed", "same-speed"}
    assert sum(score["score"] for score in scores) == pytest.approx(1, abs=1e-5)
    assert scores[0]["score"] > scores[-1]["score"] + 1e-3


def test_a_file_is_read_as_the_stock_pipeline_asks_of_a_video_processor(folder, tmp_path):
    video = render_video(tmp_path / "video.mp4", 20, size=(64, 48))
    processor = AutoVideoProcessor.from_pretrained(folder)
    read = processor(str(video), num_frames=8, do_sample_frames=True, return_tensors="pt")
    with VideoReader(video) as frames:
        images = [frame.image for frame in frames]
    assert torch.equal(read.pixel_values, processor(images[:8], return_tensors="pt").pixel_values)
    assert (
        processor(video, num_frames=25, return_tensors="pt").pixel_values.shape[1] == 25
    )  # the last repeats
    assert processor(video, return_tensors="pt").pixel_values.shape[1] == 6  # its own
    with pytest.raises(TypeError, match="num_frames"):
        processor(images, num_frames=8)


@pytest.mark.parametrize("shape", [(2, 4096), (4096, 2), (1, 4096), (3, 999)])
def test_thin_pictures_cost_no_more_than_others_and_keep_their_middle(shape):
    height, width = shape
    extractor = BSPFeatureExtractor(size={"shortest_edge": 64}, crop_size={"height": 56, "width": 56})
    ramp = np.linspace(0, 255, max(shape)).astype(np.uint8)
    image = np.broadcast_to(ramp[None, :, None] if width > height else ramp[:, None, None], (*shape, 3))
    resized = extractor._cut_thin(torch.as_tensor(image.copy()).permute(2, 0, 1)[None])
    assert max(resized.shape[-2:]) <= 33 * min(shape)
    pixels = extractor.resize_and_crop(image[None].copy())
    assert pixels.shape == (1, 3, 56, 56)
    assert abs(pixels.float().mean().item() - 127) < 1  # the middle of the ramp


def test_sixteen_bit_images_are_scaled_not_clipped():
    deep = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    frames = stack_frames([Image.fromarray(deep)])
    np.testing.assert_array_equal(frames, np.arange(256).reshape(1, 16, 16, 1).repeat(3, axis=3))
    for image in (Image.fromarray(deep.astype(np.int32)), Image.fromarray(deep.astype(np.float32))):
        with pytest.raises(ValueError, match="convert it to 'L' or 'RGB' first"):
            stack_frames([image])
