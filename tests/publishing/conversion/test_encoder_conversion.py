"""Foreign checkpoints become folders of the same function and come back bit by bit; bad ones are refused."""

import json
import pickle

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import save_file
from support.foreign_weights import (
    BASIC,
    BOTTLENECK,
    mmaction2_weights,
    random_resnet,
    rename_to_torchvision,
    torchvision_weights,
    tsm_weights,
)
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForVideoClassification,
    ResNetConfig,
    ResNetForImageClassification,
    ResNetModel,
)

from bsp_hf import BSPConfig, BSPForBoundaryClassification, BSPModel
from bsp_hf.encoder.modeling_bsp import BSPForBoundaryRegression
from bsp_hf.publishing.conversion.encoders import convert_checkpoint
from bsp_hf.publishing.conversion.export import export_checkpoint, export_tsm_state_dict
from bsp_hf.publishing.conversion.foreign_files import read_checkpoint
from bsp_hf.publishing.conversion.key_layouts import detect_layout
from bsp_hf.publishing.conversion.known_files import parse_checkpoint_name
from bsp_hf.publishing.folder import name_architecture

TSM_FILE = "TSM_kinetics_RGB_{}_shift8_blockres_avg_segment8_e50.pth"
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def tensors(case):
    return {key: torch.from_numpy(value) for key, value in case.weights.items()}


def clips_of(case):
    frames = torch.from_numpy(case.inputs["frames_u8"]).float() / 255
    return (frames - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)


def save_tsm(path, weights, **extras):
    torch.save({"state_dict": {f"module.{key}": value for key, value in weights.items()}, **extras}, path)
    return path


def save_state(path, weights):
    torch.save(weights, path)
    return path


@torch.no_grad()
def run_frames(folder, frames):
    """Logits of still clips: one frame each, which no shift can mix."""
    return AutoModelForVideoClassification.from_pretrained(folder).eval()(frames[:, None]).logits


def save_golden(layout, arch, case, golden_json, folder):
    weights = tensors(case)
    if layout == "mit-han-lab":
        return save_tsm(folder / TSM_FILE.format(arch), weights, epoch=50, arch=arch, optimizer={})
    names = golden_json(f"tsm/mmaction2_keys_{arch}")["map"]
    path = folder / f"tsm_imagenet-pretrained-{arch}_8xb16-1x1x8-50e_kinetics400-rgb.pth"
    return save_state(path, {"meta": {"epoch": 50}, "state_dict": {names[k]: v for k, v in weights.items()}})


class TestGoldenNumbers:
    @pytest.mark.parametrize("layout", ["mit-han-lab", "mmaction2"])
    @pytest.mark.parametrize("arch", ["resnet18", pytest.param("resnet50", marks=pytest.mark.slow)])
    def test_both_layouts_reproduce_the_reference_and_come_back_to_the_bit(
        self, arch, layout, golden, golden_json, tmp_path
    ):
        case = golden(f"tsm/tsm_{arch}")
        source = save_golden(layout, arch, case, golden_json, tmp_path)

        report = convert_checkpoint(source, tmp_path / "bsp")

        assert (report.architecture, report.num_labels, report.filled) == (arch, 400, ())
        assert report.layout == f"{layout} (detected)"
        assert report.num_matched == len(case.weights)
        assert report.left == (("epoch", "arch", "optimizer") if layout == "mit-han-lab" else ("meta",))
        classifier = AutoModelForVideoClassification.from_pretrained(tmp_path / "bsp").eval()
        encoder = AutoModel.from_pretrained(tmp_path / "bsp").eval()
        assert (type(classifier), type(encoder)) == (BSPForBoundaryClassification, BSPModel)
        with torch.no_grad():
            features = encoder(clips_of(case), output_hidden_states=True)
            logits = classifier(clips_of(case))
        case.check("clip_logits", logits.logits)
        case.check("frame_logits", logits.frame_logits.flatten(0, 1))
        case.check("frame_features", features.last_hidden_state.flatten(0, 1))
        case.check("clip_feature", features.pooler_output)
        for stage in range(1, 5):
            means = features.hidden_states[stage].mean((3, 4)).flatten(0, 1)
            case.check(f"layer{stage}_spatial_mean", means)

        exported = export_checkpoint(tmp_path / "bsp", tmp_path / "back.pth", layout)
        back = torch.load(exported, weights_only=True)["state_dict"]
        original = torch.load(source, weights_only=True)["state_dict"]
        assert back.keys() == original.keys()
        assert all(torch.equal(back[key], value) for key, value in original.items())

    def test_another_shift_moves_the_logits_as_far_as_the_reference_says(self, golden, tmp_path):
        case = golden("tsm/tsm_resnet18")
        source = save_tsm(tmp_path / "ckpt.pth.tar", tensors(case))
        report = convert_checkpoint(source, tmp_path / "bsp", shift_place="none")
        assert any("overrule" in note for note in report.notes)
        distances = case.meta["max_abs_change_of_clip_logits_if_wrong"]
        model = AutoModelForVideoClassification.from_pretrained(tmp_path / "bsp").eval()
        with torch.no_grad():
            unshifted = model(clips_of(case)).logits.numpy()
            model.config.shift_place, model.config.shift_div = "blockres", 16
            less_shifted = model(clips_of(case)).logits.numpy()
        for logits, mistake in ((unshifted, "no_shift"), (less_shifted, "shift_div_doubled")):
            change = np.abs(logits - case.outputs["clip_logits"]).max()
            assert change == pytest.approx(distances[mistake], abs=1e-4)

    def test_exported_names_are_those_of_the_reference(self, golden_json):
        shapes = {e["key"]: e["shape"] for e in golden_json("tsm/tsm_resnet50")["state_dict"]}
        with torch.device("meta"):
            model = BSPForBoundaryClassification(BSPConfig.from_backbone_name("resnet50", num_labels=400))
        exported = export_tsm_state_dict(model)
        assert {key: list(value.shape) for key, value in exported.items()} == shapes
        names = golden_json("tsm/mmaction2_keys_resnet50")["map"]
        assert export_tsm_state_dict(model, "mmaction2").keys() == set(names.values())
        # An encoder without a head is the same less the classifier.
        assert export_tsm_state_dict(model.bsp).keys() == {k for k in shapes if not k.startswith("new_fc")}


class TestImageWeights:
    @pytest.mark.parametrize("settings", [BASIC, BOTTLENECK], ids=["basic", "bottleneck"])
    @pytest.mark.parametrize("how", ["torchvision", "compiled", "timm_folder", "transformers_folder"])
    def test_the_converted_network_gives_the_logits_of_the_image_network(self, settings, how, tmp_path):
        original = random_resnet(**settings)
        source = tmp_path / "source"
        if how == "torchvision":
            save_state(source, {"model": torchvision_weights(**settings), "epoch": 90})
        elif how == "compiled":
            # A misleading suffix as well: safetensors is known by its content.
            weights = {f"module._orig_mod.{k}": v for k, v in torchvision_weights(**settings).items()}
            save_file(weights, source)
        elif how == "timm_folder":
            source.mkdir()
            save_file(torchvision_weights(**settings), source / "model.safetensors")
            pretrained = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
            config = {"architecture": "resnet18", "num_classes": 5, "pretrained_cfg": pretrained}
            (source / "config.json").write_text(json.dumps(config))
        else:
            original.save_pretrained(source)

        layout = "timm" if how == "timm_folder" else None
        report = convert_checkpoint(source, tmp_path / "bsp", layout=layout, shift_place="none")

        frames = torch.randn(3, 3, 64, 48, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected = original(frames).logits
        assert expected.std() > 0.1
        torch.testing.assert_close(run_frames(tmp_path / "bsp", frames), expected, rtol=1e-5, atol=1e-5)
        assert (report.num_labels, report.filled, report.notes) == (5, (), ())
        assert report.num_matched == len(original.state_dict())
        assert report.left == (("epoch",) if how == "torchvision" else ())
        extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "bsp")
        mean = [0.5, 0.5, 0.5] if how == "timm_folder" else IMAGENET_MEAN
        assert (extractor.image_mean, extractor.size, extractor.crop_size) == (
            mean,
            {"shortest_edge": 256},
            {"height": 224, "width": 224},
        )

    def test_a_bare_resnet_model_becomes_an_encoder_without_a_head(self, tmp_path):
        original = random_resnet(**BASIC).resnet
        assert isinstance(original, ResNetModel)
        original.save_pretrained(tmp_path / "source")
        report = convert_checkpoint(tmp_path / "source", tmp_path / "bsp", shift_place="none")
        assert (report.model_class, report.num_labels) == ("BSPModel", None)
        frames = torch.randn(2, 3, 32, 32)
        with torch.no_grad():
            features = AutoModel.from_pretrained(tmp_path / "bsp").eval()(frames[:, None]).pooler_output
            torch.testing.assert_close(features, original.eval()(frames).pooler_output.flatten(1))

    @pytest.mark.parametrize(
        "hidden",
        [{"downsample_in_bottleneck": True}, {"downsample_in_first_stage": True}, {"hidden_act": "gelu"}],
    )
    def test_what_tensors_do_not_show_is_taken_from_the_config_and_never_exported(self, hidden, tmp_path):
        original = random_resnet(**BOTTLENECK, **hidden)
        original.save_pretrained(tmp_path / "source")
        convert_checkpoint(tmp_path / "source", tmp_path / "bsp", shift_place="none")
        frames = torch.randn(2, 3, 64, 64)
        with torch.no_grad():
            torch.testing.assert_close(run_frames(tmp_path / "bsp", frames), original(frames).logits)
        with pytest.raises(ValueError, match=next(iter(hidden))):
            export_checkpoint(tmp_path / "bsp", tmp_path / "back.pth")
        assert not (tmp_path / "back.pth").exists()

    def test_image_weights_get_the_shift_of_tsm_and_a_warning_about_it(self, tmp_path):
        source = save_state(tmp_path / "resnet.pth", torchvision_weights(**BASIC))
        report = convert_checkpoint(source, tmp_path / "bsp")
        config = AutoConfig.from_pretrained(tmp_path / "bsp")
        assert (config.num_frames, config.shift_div, config.shift_place) == (8, 8, "blockres")
        assert {setting.origin for setting in report.settings} == {"default"}
        assert any("know no shift" in note for note in report.notes)

    def test_timm_relatives_with_the_same_tensors_are_refused_by_name(self, tmp_path):
        save_file(torchvision_weights(**BASIC), tmp_path / "model.safetensors")
        (tmp_path / "config.json").write_text('{"architecture": "resnetaa50"}')
        for source in (tmp_path, tmp_path / "model.safetensors"):
            with pytest.raises(ValueError, match="timm's resnetaa50"):
                convert_checkpoint(source, tmp_path / "bsp")

    @pytest.mark.parametrize(
        ("name", "layer_type", "widths", "depths"),
        [
            ("resnet18", "basic", [64, 128, 256, 512], [2, 2, 2, 2]),
            ("resnet34", "basic", [64, 128, 256, 512], [3, 4, 6, 3]),
            ("resnet50", "bottleneck", [256, 512, 1024, 2048], [3, 4, 6, 3]),
            ("resnet101", "bottleneck", [256, 512, 1024, 2048], [3, 4, 23, 3]),
            ("resnet (bottleneck, depths 3-8-36-3, widths 256-512-1024-2048)", "bottleneck",
             [256, 512, 1024, 2048], [3, 8, 36, 3]),
            ("resnet (basic, depths 1-2, widths 16-24)", "basic", [16, 24], [1, 2]),
        ],
    )  # fmt: skip
    def test_the_architecture_is_read_from_the_tensors(self, name, layer_type, widths, depths):
        config = ResNetConfig(layer_type=layer_type, hidden_sizes=widths, depths=depths)
        with torch.device("meta"):
            weights = rename_to_torchvision(ResNetForImageClassification(config).state_dict())
        found = detect_layout(weights).infer_backbone(weights, "none")
        assert name_architecture(found) == name
        assert (found.layer_type, found.embedding_size) == (layer_type, 64)
        assert (list(found.hidden_sizes), list(found.depths)) == (widths, depths)


class TestShiftInTheKeys:
    @pytest.mark.parametrize("shift_place", ["blockres", "block", "none"])
    def test_the_place_of_the_shift_is_read_and_written_back(self, shift_place, tmp_path):
        weights = tsm_weights(shift_place, **BOTTLENECK)
        report = convert_checkpoint(save_tsm(tmp_path / "ckpt.pth.tar", weights), tmp_path / "bsp")
        assert str(report.settings[2]) == f"shift_place {shift_place} (keys)"
        model = AutoModelForVideoClassification.from_pretrained(tmp_path / "bsp")
        exported = export_tsm_state_dict(model)
        assert exported.keys() == weights.keys()
        assert all(torch.equal(exported[key], value) for key, value in weights.items())

    def test_deep_networks_shift_in_every_second_block(self, tmp_path):
        deep = {**BASIC, "hidden_sizes": [8, 8, 8], "depths": [1, 2, 23]}
        weights = tsm_weights(shifts=lambda block: block % 2 == 0, **deep)
        convert_checkpoint(save_tsm(tmp_path / "even.pth", weights), tmp_path / "bsp")
        model = AutoModelForVideoClassification.from_pretrained(tmp_path / "bsp")
        assert export_tsm_state_dict(model).keys() == weights.keys()
        # A network that shifts in all of them is another function, which this encoder does not have.
        with pytest.raises(ValueError, match=r"missing .*layer2\.1\.conv1\.weight"):
            convert_checkpoint(save_tsm(tmp_path / "all.pth", tsm_weights(**deep)), tmp_path / "bsp")
        model.config.shift_place = "block"
        with pytest.raises(ValueError, match="every second block"):
            export_tsm_state_dict(model)

    def test_a_classifier_without_dropout_keeps_its_name(self, tmp_path):
        weights = tsm_weights(classifier="base_model.fc", **BASIC)
        report = convert_checkpoint(save_tsm(tmp_path / "ckpt.pth", weights), tmp_path / "bsp")
        assert str(report.settings[3]) == "classifier_dropout 0.0 (keys)"
        back = torch.load(export_checkpoint(tmp_path / "bsp", tmp_path / "back.pth"), weights_only=True)
        assert back["state_dict"].keys() == {f"module.{key}" for key in weights}

    def test_a_name_that_contradicts_the_keys_must_be_settled_by_the_caller(self, tmp_path):
        source = save_tsm(tmp_path / TSM_FILE.format("resnet50"), tsm_weights("none", **BASIC))
        with pytest.raises(ValueError, match="name says shift_place='blockres', its keys say 'none'"):
            convert_checkpoint(source, tmp_path / "bsp")
        report = convert_checkpoint(source, tmp_path / "bsp", shift_place="blockres")
        assert str(report.settings[2]) == "shift_place blockres (argument)"
        assert any("resnet50" in note for note in report.notes)


class TestFileNames:
    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            (TSM_FILE.format("resnet50"), (8, 8, "blockres", "resnet50")),
            (
                "TSM_something_RGB_resnet101_shift4_block_avg_segment16_e45.pth",
                (16, 4, "block", "resnet101"),
            ),
            ("TSM_my_set_RGB_resnet50_avg_segment5_e50.pth", (5, None, "none", "resnet50")),
            (
                "TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment8_e100_dense_nl.pth",
                (8, 8, "blockres", "resnet50"),
            ),
            (
                "checkpoint/TSM_ucf101_RGB_resnet18_shift8_blockres_avg_segment8_e25/ckpt.best.pth.tar",
                (8, 8, "blockres", "resnet18"),
            ),
            ("tsm_r50_dense_1x1x16_50e_kinetics400_rgb_20200626.pth", (16, None, None, None)),
            ("tsm_imagenet-pretrained-r50_8xb16-dense-1x1x8-50e_kinetics400-rgb.pth", (8, None, None, None)),
            ("slowfast_r50_4x16x1_256e_kinetics400_rgb.pth", None),
            ("resnet50-0676ba61.pth", None),
        ],
    )
    def test_published_names_give_their_settings(self, path, expected):
        facts = parse_checkpoint_name(path)
        assert (None if facts is None else tuple(vars(facts).values())) == expected

    def test_arguments_come_before_the_name_and_the_name_before_defaults(self, tmp_path):
        name = "TSM_kinetics_RGB_resnet50_shift4_blockres_avg_segment16_e50.pth"
        source = save_tsm(tmp_path / name, tsm_weights(**BASIC))
        report = convert_checkpoint(source, tmp_path / "bsp", num_frames=12, classifier_dropout=0.8)
        assert [str(setting) for setting in report.settings] == [
            "num_frames 12 (argument)",
            "shift_div 4 (file name)",
            "shift_place blockres (keys)",
            "classifier_dropout 0.8 (argument)",
        ]
        config = AutoConfig.from_pretrained(tmp_path / "bsp")
        assert (config.num_frames, config.shift_div, config.classifier_dropout) == (12, 4, 0.8)
        assert AutoFeatureExtractor.from_pretrained(tmp_path / "bsp").num_frames == 12


class TestClassesAndFolder:
    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("names.txt", "run\njump\nswim\nclimb\nfall down\n\n"),
            ("names.json", '["run", "jump", "swim", "climb", "fall down"]'),
            ("names.json", '{"4": "fall down", "0": "run", "1": "jump", "2": "swim", "3": "climb"}'),
            ("names.json", '{"fall down": 4, "run": 0, "jump": 1, "swim": 2, "climb": 3}'),
        ],
    )
    def test_class_names_are_read_from_a_file(self, name, text, tmp_path):
        (tmp_path / name).write_text(text)
        source = save_tsm(tmp_path / "ckpt.pth", tsm_weights(**BASIC))
        convert_checkpoint(source, tmp_path / "bsp", labels=tmp_path / name)
        config = AutoConfig.from_pretrained(tmp_path / "bsp")
        assert config.id2label == {0: "run", 1: "jump", 2: "swim", 3: "climb", 4: "fall down"}
        assert config.label2id["fall down"] == 4

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (["run", "jump"], "holds 2 names, the classifier has 5 classes"),
            (["a", " ", "c", "d", "e"], "name of class 1 is empty"),
        ],
    )
    def test_class_names_that_do_not_fit_are_refused(self, labels, message, tmp_path):
        source = save_tsm(tmp_path / "ckpt.pth", tsm_weights(**BASIC))
        with pytest.raises(ValueError, match=message):
            convert_checkpoint(source, tmp_path / "bsp", labels=labels)
        (tmp_path / "names.json").write_text('{"0": "run", "7": "jump"}')
        with pytest.raises(ValueError, match="pairs every number"):
            convert_checkpoint(source, tmp_path / "bsp", labels=tmp_path / "names.json")

    def test_class_names_without_a_classifier_are_refused(self, tmp_path):
        source = save_tsm(tmp_path / "ckpt.pth", tsm_weights(**BASIC))
        with pytest.raises(ValueError, match="no classifier to name the classes of"):
            convert_checkpoint(source, tmp_path / "bsp", labels=["run"], keep_classifier=False)

    def test_class_names_of_a_transformers_folder_are_kept(self, tmp_path):
        original = random_resnet(**BASIC, num_labels=3)
        original.config.id2label = {0: "crane", 1: "dog", 2: "crane"}
        original.save_pretrained(tmp_path / "source")
        convert_checkpoint(tmp_path / "source", tmp_path / "bsp")
        assert AutoConfig.from_pretrained(tmp_path / "bsp").id2label == {0: "crane", 1: "dog", 2: "crane"}

    @pytest.mark.parametrize("num_labels", [1, 2, 4])
    def test_classes_without_names_are_numbered_and_never_taken_for_boundaries(self, num_labels, tmp_path):
        source = save_tsm(tmp_path / "ckpt.pth", tsm_weights(**BASIC, num_labels=num_labels))
        assert convert_checkpoint(source, tmp_path / "bsp").num_labels == num_labels
        model = AutoModelForVideoClassification.from_pretrained(tmp_path / "bsp")
        assert model.classifier.out_features == num_labels
        assert list(model.config.id2label.values()) == [f"LABEL_{k}" for k in range(num_labels)]

    @pytest.mark.parametrize("layout", ["tsm", "torchvision"])
    def test_a_classifier_can_be_left_behind(self, layout, tmp_path):
        weights = tsm_weights(**BASIC) if layout == "tsm" else torchvision_weights(**BASIC)
        source = save_state(tmp_path / "ckpt.pth", weights)
        report = convert_checkpoint(source, tmp_path / "bsp", keep_classifier=False)
        name = "new_fc" if layout == "tsm" else "fc"
        assert (report.model_class, set(report.left)) == ("BSPModel", {f"{name}.weight", f"{name}.bias"})
        model, loading = AutoModel.from_pretrained(tmp_path / "bsp", output_loading_info=True)
        assert not loading["missing_keys"] and not loading["unexpected_keys"]
        stem = "base_model.conv1.weight" if layout == "tsm" else "conv1.weight"
        assert torch.equal(model.backbone.embedder.embedder.convolution.weight, weights[stem])

    def test_the_record_tells_where_the_weights_come_from_and_no_path(self, tmp_path):
        source = save_tsm(tmp_path / "ckpt.pth", tsm_weights(**BASIC), epoch=50, best_prec1=float("nan"))
        convert_checkpoint(source, tmp_path / "bsp")
        text = (tmp_path / "bsp" / "training_record.json").read_text()
        record = json.loads(text, parse_constant=pytest.fail)
        assert record["checkpoint"] == {"epoch": 50}
        assert record["conversion"]["source"]["file"] == "ckpt.pth"
        assert len(record["conversion"]["source"]["sha256"]) == 64
        assert str(tmp_path) not in text

    def test_the_summary_names_what_matters(self, tmp_path):
        weights = tsm_weights(**BASIC)
        counters = [key for key in weights if key.endswith("num_batches_tracked")]
        old = {key: value for key, value in weights.items() if key not in counters}
        report = convert_checkpoint(save_tsm(tmp_path / "ckpt.pth", old, epoch=3), tmp_path / "bsp")
        text = str(report)
        assert text.splitlines()[0] == f"ckpt.pth -> {tmp_path / 'bsp'}"
        assert "mit-han-lab (detected)" in text
        assert "BSPForBoundaryClassification, classifier of 5 classes" in text
        assert f"{len(old)} tensors matched" in text
        assert "module.base_model.conv1.weight -> bsp.backbone.embedder.embedder.convolution.weight" in text
        assert f"{len(counters)} batch counters absent and set to 0" in text
        assert "epoch" in text and "shift_div 8 (default)" in text
        counter = AutoModel.from_pretrained(tmp_path / "bsp").backbone.embedder.embedder.normalization
        assert counter.num_batches_tracked.item() == 0


class TestPixels:
    def test_mmaction2_pixels_and_ours_are_one_function(self, tmp_path):
        weights = tsm_weights(**BASIC)
        convert_checkpoint(save_tsm(tmp_path / "ckpt.pth", weights), tmp_path / "bsp")
        extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "bsp")
        pixels = torch.arange(256, dtype=torch.uint8).expand(3, 1, 256)
        mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
        theirs = (np.arange(256.0)[None] - mean[:, None]) / std[:, None]
        ours = extractor.normalize_pixels(pixels)[:, 0].double().numpy()
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)

    def test_mmaction2_statistics_in_the_state_dict_are_left(self, tmp_path):
        weights = mmaction2_weights(**BOTTLENECK)
        weights["data_preprocessor.mean"] = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
        report = convert_checkpoint(save_state(tmp_path / "tsm.pth", weights), tmp_path / "bsp")
        assert report.left == ("data_preprocessor.mean",)
        assert any("0..255" in note for note in report.notes)
        assert any("do not show shift_div" in note for note in report.notes)


class CreatesFile:
    """Unpickling it would create the file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


class TestHostileAndDamagedFiles:
    @pytest.mark.parametrize("how", ["zip", "legacy", "pickle", "bin_in_folder", "fake_safetensors"])
    def test_code_in_a_file_is_never_run(self, how, tmp_path):
        trap, source = tmp_path / "created", tmp_path / "evil.pth.tar"
        content = {"state_dict": tsm_weights(**BASIC), "best_prec1": CreatesFile(trap)}
        if how == "pickle":
            source.write_bytes(pickle.dumps(CreatesFile(trap), protocol=2))
        elif how == "bin_in_folder":
            source = tmp_path / "evil"
            source.mkdir()
            torch.save(content, source / "pytorch_model.bin")
        elif how == "fake_safetensors":
            source = tmp_path / "model.safetensors"
            torch.save(content, source)
        else:
            torch.save(content, source, _use_new_zipfile_serialization=how == "zip")
        with pytest.raises(ValueError, match="damaged" if how == "fake_safetensors" else r"without|run code"):
            convert_checkpoint(source, tmp_path / "bsp")
        assert not trap.exists()
        assert not (tmp_path / "bsp").exists()
        # The trap itself works.
        pickle.loads(pickle.dumps(CreatesFile(trap))).close()
        assert trap.exists()

    def test_the_refusal_says_why_and_what_to_do(self, tmp_path):
        source = save_tsm(tmp_path / "ckpt.pth", tsm_weights(**BASIC), best_prec1=np.float64(71.2))
        with pytest.raises(ValueError, match=r"numpy.*scalar.*run code.*save its weights alone"):
            convert_checkpoint(source, tmp_path / "bsp")

    def test_old_files_and_half_precision_are_read(self, tmp_path):
        weights = tsm_weights(**BASIC)
        halves = {key: v.half() if v.is_floating_point() else v for key, v in weights.items()}
        torch.save({"state_dict": halves}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
        report = convert_checkpoint(tmp_path / "old.pth", tmp_path / "bsp")
        assert any("float16 were converted to float32" in note for note in report.notes)
        model = AutoModelForVideoClassification.from_pretrained(tmp_path / "bsp")
        assert model.dtype == torch.float32
        assert torch.equal(model.classifier.weight, halves["new_fc.weight"].float())

    @pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
    def test_files_cut_short_are_refused_at_any_length(self, kind, tmp_path):
        path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
        weights = {"conv1.weight": torch.ones(4, 3, 3, 3)}
        if kind == "safetensors":
            save_file(weights, path)
        else:
            torch.save(weights, path, _use_new_zipfile_serialization=kind == "zip")
        whole = path.read_bytes()
        for length in {0, 1, 8, 9, *range(10, len(whole) - 1, max(1, len(whole) // 40))}:
            path.write_bytes(whole[:length])
            # A cut through the name of a class looks like a class that may not be loaded.
            with pytest.raises(ValueError, match=r"damaged|run code"):
                read_checkpoint(path)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"<html>Not found</html>", "damaged"),
            ([1, 2], "holds a list, expected a dict"),
            ({"epoch": 3, "model": {}}, "holds no tensors.*its entries are epoch"),
        ],
    )
    def test_files_of_another_kind_are_refused(self, content, message, tmp_path):
        path = tmp_path / "file.pth"
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        with pytest.raises(ValueError, match=message):
            read_checkpoint(path)

    def test_tensors_that_claim_more_than_the_file_holds_are_refused(self, tmp_path):
        weights = {"conv1.weight": torch.zeros(8, 3, 7, 7), "fc.weight": torch.zeros(1).expand(10**9, 8)}
        with pytest.raises(ValueError, match=r"fc\.weight claims 8000000000 values"):
            read_checkpoint(save_state(tmp_path / "bomb.pth", weights))

    def test_missing_files_are_named(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="nothing is downloaded"):
            convert_checkpoint("microsoft/resnet-50", tmp_path / "bsp")
        with pytest.raises(FileNotFoundError, match=r"neither model\.safetensors"):
            convert_checkpoint(tmp_path, tmp_path / "bsp")

    def test_a_source_is_never_overwritten(self, tmp_path):
        random_resnet(**BASIC).save_pretrained(tmp_path)
        before = (tmp_path / "model.safetensors").read_bytes()
        with pytest.raises(ValueError, match="write to another folder"):
            convert_checkpoint(tmp_path, tmp_path)
        assert (tmp_path / "model.safetensors").read_bytes() == before


def drop(key):
    return lambda weights: weights.pop(f"base_model.{key}")


def put(key, *shape):
    return lambda weights: weights.update({f"base_model.{key}": torch.zeros(shape)})


class TestTensorsThatDoNotFit:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (drop("layer1.1.bn2.running_var"), r"1 missing \(base_model\.layer1\.1\.bn2\.running_var"),
            (drop("layer2.0.conv2.weight"), r"layer2\.0\.conv2\.weight is missing"),
            (put("layer1.1.bn1.bias", 7), r"layer1\.1\.bn1\.bias is \(7,\), expected \(8,\)"),
            (put("layer1.0.nl.g.weight", 4, 4), r"1 unknown \(.*layer1\.0\.nl\.g.*Non-local"),
            (put("layer3.0.conv2.weight", 8, 8, 3, 3), r"1 unknown \(.*layer3\.0\.conv2"),
            (put("conv1.weight", 8, 10, 7, 7), r"\(8, 10, 7, 7\).*optical flow"),
            (put("conv1.weight", 8, 3, 5, 7, 7), r"2-D networks"),
            (drop("fc.bias"), r"1 missing \(base_model\.fc\.bias\)"),
            (put("layer2.0.conv2.weight"), r"layer2\.0\.conv2\.weight is .* not the weight"),
            (put("fc.weight", 5, 8, 1, 1), r"fc\.weight has the shape"),
            (drop("layer1.0.conv1.net.weight"), r"first residual block .* is missing"),
        ],
    )
    def test_every_fault_is_named_and_nothing_is_written(self, change, message, tmp_path):
        weights = tsm_weights(classifier="base_model.fc", **BASIC)
        change(weights)
        with pytest.raises(ValueError, match=message):
            convert_checkpoint(save_tsm(tmp_path / "ckpt.pth", weights), tmp_path / "bsp")
        assert not (tmp_path / "bsp").exists()

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_weights_that_are_not_finite_are_refused(self, value, tmp_path):
        weights = tsm_weights(**BASIC)
        weights["base_model.bn1.bias"] = torch.full((8,), value)
        with pytest.raises(ValueError, match=r"base_model\.bn1\.bias holds values that are not finite"):
            convert_checkpoint(save_tsm(tmp_path / "ckpt.pth", weights), tmp_path / "bsp")

    def test_wide_bottlenecks_are_refused(self, tmp_path):
        weights = torchvision_weights(**BOTTLENECK)
        weights["layer1.0.conv1.weight"] = torch.zeros(8, 8, 1, 1)
        with pytest.raises(ValueError, match=r"layer1\.0\.conv1\.weight is \(8, 8, 1, 1\), expected \(4,"):
            convert_checkpoint(save_state(tmp_path / "wide.pth", weights), tmp_path / "bsp")

    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            (["base_model.features.0.0.weight"], "MobileNetV2"),
            (["conv1.0.weight", "layer1.0.conv1.weight"], "ResNet-D"),
            (["backbone.conv1.weight"], "mmpretrain"),
            (["bsp.backbone.embedder.embedder.convolution.weight"], "already has this package's own layout"),
            (["patch_embed.weight"], "its 1 keys begin with patch_embed.weight"),
        ],
    )
    def test_relatives_are_refused_with_the_reason(self, keys, message, tmp_path):
        source = save_state(tmp_path / "other.pth", {key: torch.zeros(2, 3, 3, 3) for key in keys})
        with pytest.raises(ValueError, match=message):
            convert_checkpoint(source, tmp_path / "bsp")

    def test_a_layout_given_by_name_must_be_the_right_one(self, tmp_path):
        source = save_tsm(tmp_path / "ckpt.pth", tsm_weights(**BASIC))
        assert (
            convert_checkpoint(source, tmp_path / "bsp", layout="mit-han-lab").layout == "mit-han-lab (given)"
        )
        with pytest.raises(ValueError, match="but that of mit-han-lab"):
            convert_checkpoint(source, tmp_path / "bsp", layout="timm")
        with pytest.raises(ValueError, match="'caffe' is unknown; choose one of mit-han-lab, mmaction2"):
            convert_checkpoint(source, tmp_path / "bsp", layout="caffe")

    @pytest.mark.parametrize("arguments", [{"num_frames": 0}, {"shift_div": 1}, {"shift_place": "some"}])
    def test_settings_out_of_range_are_refused(self, arguments, tmp_path):
        source = save_tsm(tmp_path / "ckpt.pth", tsm_weights(**BASIC))
        with pytest.raises(StrictDataclassError, match=next(iter(arguments))):
            convert_checkpoint(source, tmp_path / "bsp", **arguments)
        assert not (tmp_path / "bsp").exists()


class TestExportRefuses:
    def test_models_and_layouts_without_a_counterpart(self, tmp_path):
        config = BSPConfig(backbone_config=ResNetConfig(**BASIC))
        with pytest.raises(ValueError, match="layout 'torchvision' cannot be written"):
            export_tsm_state_dict(BSPModel(config), "torchvision")
        with pytest.raises(ValueError, match="BSPForBoundaryRegression has no counterpart"):
            export_tsm_state_dict(BSPForBoundaryRegression(config))
        BSPForBoundaryRegression(config).save_pretrained(tmp_path / "regression")
        with pytest.raises(ValueError, match="holds a BSPForBoundaryRegression"):
            export_checkpoint(tmp_path / "regression", tmp_path / "back.pth")
        regnet = BSPConfig(backbone_config={"model_type": "regnet", "hidden_sizes": [8, 8], "depths": [1, 1]})
        with pytest.raises(ValueError, match="not a ResNet"):
            export_tsm_state_dict(BSPModel(regnet))
        with pytest.raises(FileNotFoundError, match=r"no config\.json"):
            export_checkpoint(tmp_path, tmp_path / "back.pth")

    def test_a_folder_that_lacks_weights(self, tmp_path):
        model = BSPModel(BSPConfig(backbone_config=ResNetConfig(**BASIC)))
        model.save_pretrained(tmp_path / "bsp")
        weights = {k: v for k, v in model.state_dict().items() if "embedder" not in k}
        save_file(weights, tmp_path / "bsp" / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ValueError, match=r"lacks the weights backbone\.embedder"):
            export_checkpoint(tmp_path / "bsp", tmp_path / "back.pth")
