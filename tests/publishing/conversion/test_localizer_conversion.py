"""Published localizer checkpoints become folders with the same numbers; what does not fit is named."""

import pickle

import pytest
import torch
from transformers import AutoModel
from typer.testing import CliRunner

from bsp_hf import convert_localizer_checkpoint
from bsp_hf.cli.application import app
from bsp_hf.localization.grounding.queries import QueryVocabulary
from bsp_hf.localization.gtad.configuration_gtad import GTADConfig
from bsp_hf.localization.gtad.conversion import export_gtad_state_dict
from bsp_hf.localization.gtad.modeling_gtad import GTADForTemporalActionLocalization
from bsp_hf.localization.lgi.configuration_lgi import LGIConfig
from bsp_hf.localization.lgi.conversion import export_lgi_checkpoint
from bsp_hf.localization.lgi.modeling_lgi import LGIForVideoGrounding
from bsp_hf.localization.tan.configuration_tan import TANConfig
from bsp_hf.localization.tan.conversion import export_tan_state_dict
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
        (lambda weights: weights.pop("module.regu_s.1.bias"), r"missing \['regu_s.1.bias'\]"),
        (lambda weights: weights.update({"module.extra": torch.zeros(1)}), r"unknown \['extra'\]"),
        (
            lambda weights: weights.update({"module.regu_s.1.bias": torch.zeros(3)}),
            r"regu_s.1.bias has the shape \(3,\)",
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
    with pytest.raises(ValueError, match=r"no checkpoint of G-TAD, 2D-TAN or LGI; .* conv\.weight"):
        convert_localizer_checkpoint(tmp_path / "other.pth", tmp_path / "out")
    (tmp_path / "code.pth").write_bytes(pickle.dumps(publish))
    with pytest.raises(ValueError, match=r"code\.pth was not read"):
        convert_localizer_checkpoint(tmp_path / "code.pth", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="is no file"):
        convert_localizer_checkpoint(tmp_path / "nowhere.pth", tmp_path / "out")
    publish("lgi", tmp_path / "lgi.pkl")
    with pytest.raises(ValueError, match="vocabulary has 5 numbers with the reserved ones, the embedding 7"):
        convert_localizer_checkpoint(tmp_path / "lgi.pkl", tmp_path / "out", vocabulary=["door"])


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
