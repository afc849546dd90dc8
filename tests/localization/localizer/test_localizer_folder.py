"""A localizer's folder is the old one or the new one, whole, wherever saving is interrupted."""

import json
import shutil

import numpy as np
import pytest
import torch
from support.commands import bsp
from support.interruption import Interruption, read_folder
from support.tiny_localizers import (
    TASKS,
    companions_of,
    tiny_encoder,
    tiny_extractor,
    tiny_localizer,
    tiny_track,
)
from transformers import AutoModel, pipeline

from bsp_hf import save_localizer_folder
from bsp_hf.features import EncoderRecord


@pytest.fixture(scope="module")
def interruption():
    return Interruption()


@pytest.mark.parametrize("is_new", [True, False])
def test_the_folder_is_old_or_new_wherever_saving_is_interrupted(is_new, interruption, tmp_path):
    target, encoder = tmp_path / "work" / "tan", (tiny_encoder(), tiny_extractor())

    def save(seed, folder):
        model = tiny_localizer("tan", seed)
        record = {"steps": seed}
        return save_localizer_folder(model, folder, encoder=encoder, record=record, **companions_of("tan"))

    whole = read_folder(save(2, tmp_path / "tan"))
    if not is_new:
        save(1, target)
        (target / "checkpoints").mkdir()
        (target / "checkpoints" / "run.json").write_text("{}")
        before = read_folder(target)
    step = 1
    while interruption.run(step, lambda: save(2, target)):
        assert read_folder(target) == before if not is_new else not target.exists()
        assert [path.name for path in target.parent.glob("*")] == ([] if is_new else ["tan"])
        step += 1
    assert step > 8
    assert read_folder(target) == whole | ({} if is_new else {"checkpoints/run.json": b"{}"})


def test_what_an_earlier_localizer_left_is_not_taken_for_a_part(tmp_path):
    encoders = [(tiny_encoder(seed=seed), tiny_extractor()) for seed in (0, 3)]
    folder = save_localizer_folder(
        tiny_localizer("gtad", feature_dim=32), tmp_path, encoder=encoders, max_shard_size="10KB"
    )
    assert (folder / "model.safetensors.index.json").is_file() and (folder / "encoder_2").is_dir()
    save_localizer_folder(tiny_localizer("gtad", seed=4), folder, encoder=encoders[0])
    assert [path.name for path in folder.glob("*.safetensors*")] == ["model.safetensors"]
    assert not (folder / "encoder_2").exists()
    assert len(pipeline(TASKS["gtad"], model=str(folder)).encoders) == 1


def test_a_folder_is_saved_over_the_one_it_was_loaded_from(tmp_path):
    saved = save_localizer_folder(
        tiny_localizer("tan"),
        tmp_path / "tan",
        encoder=(tiny_encoder(), tiny_extractor()),
        **companions_of("tan"),
    )
    find = pipeline(TASKS["tan"], model=str(saved))
    track = tiny_track(encoder=EncoderRecord.from_dict(find.config.encoder))
    expected, before = find(track, "the door"), read_folder(saved)
    find.save_pretrained(saved)
    assert read_folder(saved).keys() == before.keys()
    assert pipeline(TASKS["tan"], model=str(saved))(track, "the door") == expected


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "gtad").write_text("a file")
    with pytest.raises(NotADirectoryError, match="gtad is a file"):
        save_localizer_folder(tiny_localizer("gtad"), tmp_path / "gtad")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("whole")
    encoder = (tiny_encoder(), tiny_extractor())
    for kind in ("actionness", "lgi"):
        save_localizer_folder(tiny_localizer(kind), place / kind, encoder=encoder, **companions_of(kind))
    return place


@pytest.mark.parametrize(
    ("kind", "name", "change", "message"),
    [
        ("actionness", "model.safetensors", b"x", "model.safetensors"),
        ("actionness", "encoder/model.safetensors", b"x", "encoder.*model.safetensors"),
        ("actionness", "encoder/preprocessor_config.json", b"\xff", "encoder.*preprocessor_config.json"),
        ("actionness", "config.json", (b'"segment_s": 0.2', b'"segment_s": "x"'), "config.json.*segment_s"),
        ("actionness", "config.json", (b'"0": "step"', b'"zero": "step"'), "config.json"),
        ("actionness", "config.json", (b'"float32"', b'"ft32"'), "config.json.*ft32"),
        ("actionness", "config.json", (b"weights-", b"weighty-"), "its config.json or what lies in encoder"),
        (
            "actionness",
            "encoder/config.json",
            (b"16\n", b"24\n"),
            "actionness/encoder: config.json or the we",
        ),
        (
            "actionness",
            "encoder/config.json",
            (b'"stage', b'"stag'),
            "actionness/encoder: config.json or the we",
        ),
        ("lgi", "vocabulary.json", b'{"words": ["a", "a"]}', "vocabulary.json: vocabulary repeats 1 words"),
        ("lgi", "vocabulary.json", b"{", "vocabulary.json is not a readable JSON"),
        ("lgi", "vocabulary.json", b'{"words": ["a"]}', "vocabulary .vocabulary.json. of 9 numbers"),
    ],
)
def test_a_damaged_file_of_a_folder_is_named(folders, tmp_path, kind, name, change, message):
    folder = shutil.copytree(folders / kind, tmp_path / kind)
    content = (folder / name).read_bytes()
    assert isinstance(change, bytes) or change[0] in content, content
    (folder / name).write_bytes(change if isinstance(change, bytes) else content.replace(*change))
    with pytest.raises((OSError, ValueError), match=rf"(?s).*{message}"):
        find = pipeline(TASKS[kind], model=str(folder))
        find.encoders  # noqa: B018
        find(tiny_track(), "the door")
    if name == "model.safetensors":
        said = bsp("localize", __file__, "--model", folder, code=2)
        assert f"{folder}: the weights cannot be read from model.safetensors" in said
        assert "Traceback" not in said


ABSURD = {
    "actionness": ("feature_dim", "segment_s", "feature_fps", "feature_stride_frames", "id2label"),
    "gtad": ("num_steps", "max_duration", "num_inner_bins", "expansion_ratio", "inner_sampling_ratio"),
    "tan": ("num_clips", "num_rows", "scale_layers", "map_paddings", "nms_threshold", "word_dim"),
    "lgi": ("num_rows", "vocab_size", "hidden_dim", "local_kernel_size", "dropout", "query_input"),
}
VALUES = [
    1e300,
    -5,
    10**9,
    10**18,
    10**400,
    "x" * 9999,
    [10**9] * 3,
    [None] * 2000,
    {"a": 1},
    True,
    float("nan"),
]


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind in ABSURD for field in ABSURD[kind]])
def test_absurd_values_are_one_line_that_names_file_and_field(tmp_path, kind, field):
    tiny_localizer(kind).config.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    for value in [*VALUES, None]:
        if value is None and field in ("feature_fps", "feature_stride_frames", "id2label"):
            continue  # none is one of their values
        (tmp_path / "config.json").write_text(json.dumps({**content, field: value}))
        with pytest.raises(ValueError) as error:
            AutoModel.from_pretrained(tmp_path)
        said = str(error.value)
        assert said.startswith(f"{tmp_path}: config.json: ") and field in said, (value, said)
        assert len(said) < 600 and "\n" not in said


def test_sizes_other_than_those_of_the_weights_are_named(tmp_path):
    tiny_localizer("actionness").save_pretrained(tmp_path)
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace('"feature_dim": 16', '"feature_dim": 70000'))
    with pytest.raises(ValueError, match=r"config\.json: it has other sizes than model\.safetensors"):
        AutoModel.from_pretrained(tmp_path)


def test_spans_that_are_not_finite_are_no_answer(folders):
    find = pipeline(TASKS["lgi"], model=str(folders / "lgi"))
    with torch.no_grad():
        find.model.get_input_embeddings().weight.fill_(float("nan"))
    track = tiny_track(encoder=EncoderRecord.from_dict(find.config.encoder))
    with pytest.raises(ValueError, match="spans must be finite; look for a diverged model"):
        find(track, "the door")


def test_features_that_are_not_finite_are_refused_and_the_video_named(folders):
    find = pipeline(TASKS["actionness"], model=str(folders / "actionness"))
    track = tiny_track(encoder=EncoderRecord.from_dict(find.config.encoder))
    track.features[3] = np.inf
    with pytest.raises(ValueError, match="1 of 20 feature rows of made are not finite, first row 3"):
        find(track)
