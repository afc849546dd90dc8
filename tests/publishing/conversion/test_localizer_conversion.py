"""Published localizer checkpoints become folders with the same numbers; what does not fit is named."""

import json
import pickle
from dataclasses import fields

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from support.published_weights import export_gtad_state_dict, export_lgi_checkpoint, export_tan_state_dict
from transformers import AutoModel, PreTrainedConfig
from typer.testing import CliRunner

from bsp_hf import convert_localizer_checkpoint
from bsp_hf.cli.application import app
from bsp_hf.localization.grounding.queries import QueryVocabulary
from bsp_hf.localization.gtad.configuration_gtad import GTADConfig
from bsp_hf.localization.gtad.modeling_gtad import GTADForTemporalActionLocalization
from bsp_hf.localization.lgi.configuration_lgi import LGIConfig
from bsp_hf.localization.lgi.modeling_lgi import LGIForVideoGrounding
from bsp_hf.localization.tan.configuration_tan import TANConfig
from bsp_hf.localization.tan.modeling_tan import TANForVideoGrounding

GTAD = {"feature_dim": 8, "hidden_dim": 128, "aligned_dim": 24, "map_dim": 16}
TAN = {"feature_dim": 12, "hidden_dim": 8, "word_dim": 6, "text_hidden_dim": 8}
LGI = {"feature_dim": 12, "num_rows": 20, "hidden_dim": 16, "vocab_size": 7, "word_dim": 10}


def publish(kind, path, **fields):
    """Write a checkpoint as the published code of a localizer does; return our model and the file."""
    torch.manual_seed(0)
    if kind == "gtad":
        model = GTADForTemporalActionLocalization(GTADConfig.thumos14(**{**GTAD, **fields}))
        torch.save({"epoch": 9, "state_dict": export_gtad_state_dict(model.state_dict())}, path)
    elif kind == "tan":
        model = TANForVideoGrounding(TANConfig.charades("conv", **{**TAN, **fields}))
        torch.save(export_tan_state_dict(model.state_dict()), path)
    else:
        model = LGIForVideoGrounding(LGIConfig.charades(**{**LGI, **fields}))
        torch.save(export_lgi_checkpoint(model.state_dict()), path)
    return model


@pytest.mark.parametrize("kind", ["gtad", "tan", "lgi"])
def test_a_published_file_becomes_a_folder_with_the_same_weights(kind, tmp_path):
    model = publish(kind, tmp_path / "best.pkl")
    options = {"preset": "charades"} if kind == "tan" else {}
    if kind == "lgi":
        options["vocabulary"] = ["door", "opens", "person"]
    report = convert_localizer_checkpoint(tmp_path / "best.pkl", tmp_path / "out", **options)
    assert (report.kind, report.preset) == (kind, "thumos14" if kind == "gtad" else "charades")
    loaded = AutoModel.from_pretrained(tmp_path / "out")
    assert type(loaded) is type(model)
    state = model.state_dict()
    assert report.num_tensors == len(state)
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, state[name]), name
    for name in ("feature_dim", "hidden_dim"):
        assert getattr(loaded.config, name) == getattr(model.config, name)
    if kind == "lgi":
        assert QueryVocabulary.from_pretrained(tmp_path / "out").words == ("door", "opens", "person")
    if kind == "gtad":
        assert report.left == ("epoch",) and loaded.config.time_axis == "windows"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda weights: weights.pop("module.regu_s.1.bias"), r"1 missing \(regu_s.1.bias\)"),
        (lambda weights: weights.update({"module.extra": torch.zeros(1)}), r"1 unknown \(extra\)"),
        (
            lambda weights: weights.update({"module.regu_s.1.bias": torch.zeros(3)}),
            r"regu_s.1.bias is \(3,\), expected \(1,\)",
        ),
        (
            lambda weights: weights["module.regu_s.1.bias"].fill_(float("nan")),
            "regu_s.1.bias holds values that are not finite",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named_and_nothing_is_written(change, match, tmp_path):
    publish("gtad", tmp_path / "best.pth")
    content = torch.load(tmp_path / "best.pth", weights_only=True)
    change(content["state_dict"])
    torch.save(content, tmp_path / "bad.pth")
    with pytest.raises(ValueError, match=match):
        convert_localizer_checkpoint(tmp_path / "bad.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_settings_that_the_weights_do_not_tell_apart_must_be_named(tmp_path):
    model = TANForVideoGrounding(TANConfig.charades("pool", **TAN))
    torch.save(export_tan_state_dict(model.state_dict()), tmp_path / "best.pkl")
    with pytest.raises(ValueError, match="pass preset=, one of charades, tacos"):
        convert_localizer_checkpoint(tmp_path / "best.pkl", tmp_path / "out")
    convert_localizer_checkpoint(tmp_path / "best.pkl", tmp_path / "out", preset="tacos")
    assert AutoModel.from_pretrained(tmp_path / "out").config.num_clips == 128


def test_other_files_are_refused(tmp_path):
    torch.save({"conv.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"not a checkpoint of G-TAD, 2D-TAN or LGI; .* conv\.weight"):
        convert_localizer_checkpoint(tmp_path / "other.pth", tmp_path / "out")
    (tmp_path / "code.pth").write_bytes(pickle.dumps(publish))
    with pytest.raises(ValueError, match=r"code\.pth was not read"):
        convert_localizer_checkpoint(tmp_path / "code.pth", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="is not a file"):
        convert_localizer_checkpoint(tmp_path / "nowhere.pth", tmp_path / "out")
    publish("lgi", tmp_path / "lgi.pkl")
    with pytest.raises(ValueError, match="vocabulary has 5 numbers with the reserved ones, the embedding 7"):
        convert_localizer_checkpoint(tmp_path / "lgi.pkl", tmp_path / "out", vocabulary=["door"])


@pytest.mark.parametrize("kind", ["gtad", "tan", "lgi"])
def test_the_report_names_every_field_that_the_weights_do_not_show(kind, tmp_path):
    model = publish(kind, tmp_path / "best.pkl")
    options = {"preset": "charades"} if kind == "tan" else {}
    report = convert_localizer_checkpoint(tmp_path / "best.pkl", tmp_path / "out", **options)
    names = [setting.name for setting in report.settings]
    own = {field.name for field in fields(type(model.config))} - {f.name for f in fields(PreTrainedConfig)}
    assert {*names, "encoder", "encoder_copy"} == own - {"text_encoder"}
    config = AutoModel.from_pretrained(tmp_path / "out").config
    assert all(setting.value == getattr(config, setting.name) for setting in report.settings)
    text, record = str(report), json.loads((tmp_path / "out" / "training_record.json").read_text())
    for setting in report.assumed:
        assert str(setting) in text and setting.origin == f"preset {report.preset}"
        kept = record["conversion"]["settings"][setting.name]
        assert kept == {"value": setting.value, "origin": setting.origin}
    expected = {
        "gtad": {"num_steps", "max_duration", "context_style", "inner_sampling_ratio", "num_inner_bins"},
        "tan": {"num_clips", "scale_layers", "normalize_features", "map_paddings"},
        "lgi": {"num_heads", "span_activation", "max_words"},
    }
    assumed = {setting.name for setting in report.assumed}
    assert expected[kind] | {"feature_fps", "feature_stride_frames"} <= assumed


# Changes of a field, by its type, that may leave the tensors as they are.
CHANGES = {
    bool: lambda value: [not value],
    int: lambda value: [value + 1, value - 1, 2 * value, 1],
    float: lambda value: [value / 2, value + 0.1],
    list: lambda value: [[1, *value[1:]], value[:-1], [*value, 1]],
    str: lambda value: ["rescaled", "pool", "sentence", "word_vectors", "sigmoid"],
    type(None): lambda value: [4, "encoder"],
}


@pytest.mark.parametrize("kind", ["gtad", "tan", "lgi"])
def test_fields_that_are_read_from_the_weights_are_those_that_tensors_show(kind, tmp_path):
    model = publish(kind, tmp_path / "best.pkl")
    options = {"preset": "charades"} if kind == "tan" else {}
    report = convert_localizer_checkpoint(tmp_path / "best.pkl", tmp_path / "out", **options)
    shapes = {name: value.shape for name, value in model.state_dict().items()}

    def keeps_shapes(name, value):
        try:
            with torch.device("meta"):
                other = type(model)(type(model.config)(**{**model.config.to_dict(), name: value}))
        except (StrictDataclassError, ValueError):
            return None
        return {key: tensor.shape for key, tensor in other.state_dict().items()} == shapes

    # Fields that tensors show only together with another one.
    together = {"num_inner_bins", "num_context_bins", "map_paddings", "scale_layers", "map_kernel_sizes"}
    for setting in report.settings:
        values = [v for v in CHANGES[type(setting.value)](setting.value) if v != setting.value]
        found = {keeps_shapes(setting.name, value) for value in values} - {None}
        if setting.name not in together:
            assert found == {False} if setting.origin == "weights" else True in found, setting.name


def test_what_the_weights_do_not_show_is_an_option_and_other_names_are_refused(tmp_path):
    publish("gtad", tmp_path / "best.pkl", num_steps=64, max_duration=16, context_style=2)
    report = convert_localizer_checkpoint(
        tmp_path / "best.pkl", tmp_path / "out", num_steps=64, max_duration=16, context_style=2
    )
    assert [str(setting) for setting in report.settings if setting.origin == "argument"] == [
        "num_steps 64 (argument)",
        "max_duration 16 (argument)",
        "context_style 2 (argument)",
    ]
    config = AutoModel.from_pretrained(tmp_path / "out").config
    assert (config.num_steps, config.max_duration, config.context_style) == (64, 16, 2)
    assert "given:         num_steps 64, max_duration 16, context_style 2" in str(report)
    with pytest.raises(
        TypeError, match="goi_style: the config of gtad has no such field; it has feature_fps"
    ):
        convert_localizer_checkpoint(tmp_path / "best.pkl", tmp_path / "more", goi_style=2)


def test_the_command_takes_fields_as_options(tmp_path):
    publish("gtad", tmp_path / "best.pkl", num_steps=64, max_duration=16)
    words = ["convert", str(tmp_path / "best.pkl"), str(tmp_path / "out"), "--kind", "gtad"]
    options = ["--num-steps", "64", "--max-duration=16", "--time-axis", "rescaled"]
    options += ["--gate-proposals", "true"]
    result = CliRunner().invoke(app, [*words, *options])
    assert result.exit_code == 0, result.output
    config = AutoModel.from_pretrained(tmp_path / "out").config
    assert (config.num_steps, config.time_axis, config.gate_proposals) == (64, "rescaled", True)
    assert "num_neighbors 3 (preset thumos14)" in result.output
    for wrong, message in {
        ("--goi-style", "2"): "goi_style: the config of gtad has no such field",
        ("--context-style", "7"): "context_style=7 must be 0, 1 or 2",
        ("--num-steps", "many"): "expected int, got str",
        ("--num-steps",): "--num-steps needs a value",
        ("more",): "more belongs to no option",
        ("--num-frames", "8"): "--num-frames cannot be combined with --kind",
    }.items():
        result = CliRunner().invoke(app, [*words[:2], str(tmp_path / "x"), *words[3:], *wrong])
        assert result.exit_code == 2 and message in result.output, result.output
        assert len(result.output.splitlines()) == 1 and not (tmp_path / "x").exists()
    result = CliRunner().invoke(app, [*words[:2], str(tmp_path / "x"), "--num-steps", "64"])
    assert result.exit_code == 2 and "there is no option --num-steps" in result.output


def test_the_command_converts_a_localizer(tmp_path):
    publish("lgi", tmp_path / "lgi.pkl")
    (tmp_path / "words.txt").write_text("door\nopens\nperson\n")
    command = ["convert", str(tmp_path / "lgi.pkl"), str(tmp_path / "out"), "--kind", "lgi"]
    result = CliRunner().invoke(app, [*command, "--vocabulary", str(tmp_path / "words.txt")])
    assert result.exit_code == 0, result.output
    assert "lgi, charades" in result.output
    assert AutoModel.from_pretrained(tmp_path / "out").config.vocab_size == 7
    result = CliRunner().invoke(app, [*command[:2], str(tmp_path / "more"), "--preset", "charades"])
    assert result.exit_code == 2 and "pass --kind too" in result.output
