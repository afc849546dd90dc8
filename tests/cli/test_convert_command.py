"""`bsp-hf convert`: in, out again, and what it refuses."""

from pathlib import Path

import pytest
import torch
from support.foreign_weights import BASIC, tsm_weights
from transformers import AutoModel
from typer.testing import CliRunner

from bsp_hf.cli.application import app
from bsp_hf.publishing.conversion.foreign_files import read_checkpoint

NAME = "TSM_kinetics_RGB_resnet18_shift8_blockres_avg_segment8_e50.pth"


def convert(*words, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["convert", *map(str, words)])
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("foreign") / NAME
    weights = {f"module.{key}": value for key, value in tsm_weights(**BASIC).items()}
    torch.save({"state_dict": weights}, path)
    return path


def test_there_and_back_again(source, tmp_path):
    said = convert(source, tmp_path / "bsp")
    assert f"{NAME} -> {tmp_path / 'bsp'}" in said and "shift_place blockres" in said
    assert AutoModel.from_pretrained(tmp_path / "bsp").config.num_frames == 8
    assert "converted from" in (tmp_path / "bsp" / "README.md").read_text()
    said = convert(tmp_path / "bsp", tmp_path / "back.pth", "--to", "mit-han-lab")
    assert "layout:        mit-han-lab" in said
    first, second = (read_checkpoint(path).state_dict for path in (source, tmp_path / "back.pth"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_options_reach_the_conversion(source, tmp_path):
    said = convert(source, tmp_path / "bsp", "--encoder-only", "--num-frames", 16, "--shift-div", 4)
    assert "num_frames 16 (argument)" in said and "shift_div 4 (argument)" in said
    assert "no classifier" in said


def test_what_exists_is_not_written_over_unless_forced(source, tmp_path):
    convert(source, tmp_path / "bsp")
    assert "is not empty" in convert(source, tmp_path / "bsp", code=2)
    convert(source, tmp_path / "bsp", "--force")
    (tmp_path / "file.pth").write_text("mine")
    assert "exists" in convert(tmp_path / "bsp", tmp_path / "file.pth", "--to", "mmaction2", code=2)
    assert (tmp_path / "file.pth").read_text() == "mine"


def test_mistakes_are_one_line_and_status_2(source, tmp_path):
    assert "nothing.pth does not exist" in convert(tmp_path / "nothing.pth", tmp_path / "x", code=2)
    (tmp_path / "text.pth").write_text("no checkpoint")
    assert convert(tmp_path / "text.pth", tmp_path / "x", code=2).startswith("Error: ")
    convert(source, tmp_path / "bsp")
    said = convert(tmp_path / "bsp", tmp_path / "y.pth", "--to", "timm", code=2)
    assert "choose one of mit-han-lab, mmaction2" in said
    said = convert(tmp_path / "bsp", tmp_path / "y.pth", "--to", "mmaction2", "--shift-div", 4, code=2)
    assert "--shift-div cannot be combined with --to" in said
    assert not (tmp_path / "x").exists() and not (tmp_path / "y.pth").exists()
