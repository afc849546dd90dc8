"""The fusions of Sec. 3.4: features, losses against hand-computed values, gradients, loading, export."""

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.errors import StrictDataclassError
from support.every_model import FUSIONS, WIDTH, distilled, teacher_features, two_head, two_stream
from support.rendered import render_video
from support.tiny import random_clips, randomize, tiny_config, tiny_extractor, tiny_model
from torch import nn
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForVideoClassification,
    VideoMAEConfig,
    VideoMAEModel,
    pipeline,
)
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from bsp_hf import (
    BSPConfig,
    BSPDistilledConfig,
    BSPDistilledModel,
    BSPFeatureExtractor,
    BSPForBoundaryClassification,
    BSPForFeatureDistillation,
    BSPForTwoHeadClassification,
    BSPModel,
    BSPTwoHeadConfig,
    BSPTwoHeadModel,
    BSPTwoStreamConfig,
    BSPTwoStreamModel,
    save_checkpoint_folder,
)
from bsp_hf.encoder.modeling_fusion import mean_cross_entropy
from bsp_hf.encoder.provenance import describe_encoder
from bsp_hf.features.encoder_record import EncoderRecord

CLIPS = (2, 4, 3, 32, 32)


def log_softmax(logits: torch.Tensor) -> torch.Tensor:
    """Worked out by its definition, in float64."""
    exponentials = logits.double().exp()
    return (exponentials / exponentials.sum(-1, keepdim=True)).log()


# --- two streams -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder_folders(tmp_path_factory):
    """A published boundary classifier and a wider action encoder that see the same pictures."""
    where = tmp_path_factory.mktemp("encoders")
    boundary = tiny_model(BSPForBoundaryClassification)
    backbone = tiny_config().backbone_config
    backbone.hidden_sizes = [8, 16, 24, 40]
    action = randomize(
        BSPForBoundaryClassification(BSPConfig(backbone_config=backbone, num_labels=7)), 1
    ).eval()
    for name, model in (("boundary", boundary), ("action", action)):
        save_checkpoint_folder(model, tiny_extractor(), where / f"bsp-{name}")
    return {name: where / f"bsp-{name}" for name in ("action", "boundary")}


def test_streams_give_the_features_of_their_encoders_to_the_bit_in_the_declared_order(encoder_folders):
    clips = random_clips(*CLIPS)
    encoders = {name: AutoModel.from_pretrained(folder) for name, folder in encoder_folders.items()}
    for order in (("action", "boundary"), ("boundary", "action")):
        fused = BSPTwoStreamModel.from_encoders({name: encoder_folders[name] for name in order})
        assert not fused.training
        assert tuple(fused.named_streams) == tuple(fused.config.stream_names) == order
        assert fused.config.hidden_size == 32 + 40
        with torch.no_grad():
            output = fused(clips)
            alone = [encoders[name](clips) for name in order]
        assert output.last_hidden_state.shape == (2, 4, 72)
        assert torch.equal(output.pooler_output, torch.cat([one.pooler_output for one in alone], -1))
        frames = torch.cat([one.last_hidden_state for one in alone], -1)
        assert torch.equal(output.last_hidden_state, frames)


@pytest.mark.parametrize("names", [["only"], ["a", "b", "c"]])
def test_any_number_of_streams(names, tmp_path):
    encoders = {name: randomize(BSPModel(tiny_config()), seed) for seed, name in enumerate(names)}
    BSPTwoStreamModel.from_encoders(encoders).save_pretrained(tmp_path)
    fused = AutoModel.from_pretrained(tmp_path)
    clips = random_clips(*CLIPS)
    with torch.no_grad():
        expected = torch.cat([encoder.eval()(clips).pooler_output for encoder in encoders.values()], -1)
        assert torch.equal(fused(clips).pooler_output, expected)
    assert list(fused.named_streams) == names


def test_streams_are_copies_of_encoders_that_go_on_by_themselves():
    encoder = tiny_model(BSPForBoundaryClassification)
    fused = BSPTwoStreamModel.from_encoders({"only": encoder})
    clips = random_clips(*CLIPS)
    with torch.no_grad():
        before = fused(clips).pooler_output
        for parameter in encoder.parameters():
            parameter.zero_()
        assert torch.equal(fused(clips).pooler_output, before)


def test_a_fused_model_is_a_stream_too():
    inner = BSPTwoStreamModel.from_encoders({"a": tiny_model(), "b": two_head()})
    fused = BSPTwoStreamModel.from_encoders({"pair": inner, "student": distilled()})
    clips = random_clips(*CLIPS)
    with torch.no_grad():
        expected = torch.cat([inner(clips).pooler_output, distilled().bsp(clips).pooler_output], -1)
        assert torch.equal(fused(clips).pooler_output, expected)
    parts = describe_encoder(fused, tiny_extractor())["parts"]
    assert [part["id"] for part in parts] == ["BSPModel", "BSPTwoHeadModel", "BSPDistilledModel"]


def test_another_video_model_of_transformers_is_a_stream():
    """Its tokens are no frames, so only the pooled features are joined."""
    config = VideoMAEConfig(
        image_size=32,
        patch_size=16,
        num_frames=4,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    other = VideoMAEModel(config).eval()
    fused = BSPTwoStreamModel.from_encoders({"action": other, "boundary": tiny_model()})
    clips = random_clips(*CLIPS)
    with torch.no_grad():
        output = fused(clips)
        expected = torch.cat([other(clips).last_hidden_state.mean(1), tiny_model()(clips).pooler_output], -1)
    assert torch.equal(output.pooler_output, expected)
    assert output.last_hidden_state is None


def test_hidden_states_are_those_of_the_streams_in_turn_or_the_ones_that_are_named():
    """By a number in the whole row; an encoder of its own takes such lists too."""
    model, clips = two_stream(), random_clips(*CLIPS)
    with torch.no_grad():
        every = model(clips, output_hidden_states=True).hidden_states
        alone = [maps for stream in model.streams for maps in stream(clips, True).hidden_states]
        some = model(clips, output_hidden_states=[0, -1, 4]).hidden_states
        assert model(clips, output_hidden_states=[]).hidden_states is None
    assert len(every) == len(alone) == 8
    for place, (maps, expected, kept) in enumerate(zip(every, alone, some, strict=True)):
        assert torch.equal(maps, expected)
        assert kept is None if place not in (0, 4, 7) else torch.equal(kept, expected)


def test_encoders_that_were_trained_on_other_pictures_are_refused(encoder_folders, tmp_path):
    other = tiny_extractor(crop_size={"height": 30, "width": 30}, image_mean=[0.5, 0.5, 0.5], padding="drop")
    save_checkpoint_folder(tiny_model(), other, tmp_path)
    folders = {"action": encoder_folders["action"], "boundary": tmp_path}
    with pytest.raises(ValueError, match=r"crop_size is .*32.* for action and .*30.* for boundary") as caught:
        BSPTwoStreamModel.from_encoders(folders)
    assert "image_mean" in str(caught.value)
    assert "padding" not in str(caught.value)  # only says which rows there are
    shared = tiny_extractor()
    BSPTwoStreamModel.from_encoders(folders, extractors={"action": shared, "boundary": shared})


def test_the_preprocessing_of_a_pinned_encoder_is_that_of_its_revision(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--org--tiny"
    for commit, size in (("a" * 40, 36), ("b" * 40, 44)):
        folder = repository / "snapshots" / commit
        tiny_model().save_pretrained(folder)
        tiny_extractor(size={"shortest_edge": size}).save_pretrained(folder)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("b" * 40)
    pinned = BSPModel.from_pretrained("org/tiny", revision="a" * 40)
    newest = BSPModel.from_pretrained("org/tiny")
    extractors = {"boundary": tiny_extractor()}
    fused = BSPTwoStreamModel.from_encoders({"action": pinned, "boundary": tiny_model()}, extractors)
    assert fused.config.stream_records[0]["revision"] == "a" * 40
    with pytest.raises(ValueError, match="different preprocessing: size is"):
        BSPTwoStreamModel.from_encoders({"action": newest, "boundary": tiny_model()}, extractors)


def test_encoders_without_preprocessing_are_warned_about(encoder_folders, caplog):
    BSPTwoStreamModel.from_encoders(encoder_folders)
    assert not caplog.records
    logger = "bsp_hf.encoder.modeling_fusion"
    with caplog.at_level("WARNING", logger=logger):
        BSPTwoStreamModel.from_encoders({"action": encoder_folders["action"], "boundary": tiny_model()})
    assert "beside the encoder of boundary, so" in caplog.text


def test_the_record_names_the_encoders_as_they_name_themselves(encoder_folders, tmp_path):
    """A localizer that was trained on joined tracks of two encoders takes those of the fused one."""
    extractor = tiny_extractor()
    save_checkpoint_folder(BSPTwoStreamModel.from_encoders(encoder_folders), extractor, tmp_path / "fused")
    fused = AutoModel.from_pretrained(tmp_path / "fused")
    alone = [
        describe_encoder(AutoModel.from_pretrained(folder), extractor) for folder in encoder_folders.values()
    ]
    record = describe_encoder(fused, extractor)
    assert record["id"] == "fused"
    assert [part["id"] for part in record["parts"]] == ["bsp-action", "bsp-boundary"]
    assert record["parts"] == alone
    joined = EncoderRecord.join([EncoderRecord.from_dict(part) for part in alone])
    assert EncoderRecord.from_dict(record).differences(joined) == ()


def test_a_stream_that_was_trained_on_has_another_revision():
    fused = BSPTwoStreamModel.from_encoders({"a": tiny_model(), "b": tiny_model()})
    fused.config.stream_records[0]["revision"] = "0123456789abcdef0123456789abcdef01234567"
    before = describe_encoder(fused, tiny_extractor())["parts"]
    assert before[0]["revision"] == "0123456789abcdef0123456789abcdef01234567"
    with torch.no_grad():
        for stream in fused.streams:
            stream.backbone.embedder.embedder.convolution.weight.add_(1)
    after = describe_encoder(fused, tiny_extractor())["parts"]
    assert all(part["revision"].startswith("weights-") for part in after)
    assert [part["revision"] for part in after] != [part["revision"] for part in before]
    assert [part["id"] for part in after] == [part["id"] for part in before]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stream_configs": []}, "at least one encoder"),
        ({"stream_names": ["a"]}, "must give 2 streams different names"),
        ({"stream_names": ["a", "a"]}, "different names"),
        ({"stream_names": ["a", "b.c"]}, "letters, digits and underscores"),
        ({"stream_records": [None]}, "1 entries for 2 streams"),
    ],
)
def test_streams_that_do_not_fit_are_refused(fields, message):
    with pytest.raises(StrictDataclassError, match=message):
        BSPTwoStreamConfig(**{"stream_configs": [tiny_config(), tiny_config()]} | fields)


def test_unknown_streams_and_image_models_are_refused():
    config = BSPTwoStreamConfig(stream_configs=[{"model_type": "no-such-model"}])
    with pytest.raises(ValueError, match="'no-such-model', which transformers does not know"):
        BSPTwoStreamModel(config)
    with pytest.raises(TypeError, match="use from_encoders"):
        BSPTwoStreamModel.from_backbone("microsoft/resnet-50")


# --- two heads ---------------------------------------------------------------------------------------------


def test_joint_loss_is_the_weighted_sum_of_both_cross_entropies_without_clips_that_have_no_action():
    model = two_head(boundary_loss_weight=2.0, action_loss_weight=0.5)
    clips = random_clips(3, 4, 3, 32, 32)
    labels, actions = torch.tensor([0, 3, 1]), torch.tensor([-100, 2, 0])
    with torch.no_grad():
        output = model(clips, labels=labels, action_labels=actions)
        features = model.bsp(clips).pooler_output
    torch.testing.assert_close(output.logits, model.classifier(features))
    torch.testing.assert_close(output.action_logits, model.action_classifier(features))
    boundary, action = log_softmax(output.logits), log_softmax(output.action_logits)
    boundary_loss = -(boundary[0, 0] + boundary[1, 3] + boundary[2, 1]) / 3
    action_loss = -(action[1, 2] + action[2, 0]) / 2
    torch.testing.assert_close(output.boundary_loss.double(), boundary_loss)
    torch.testing.assert_close(output.action_loss.double(), action_loss)
    torch.testing.assert_close(output.loss.double(), 2 * boundary_loss + 0.5 * action_loss)
    with torch.no_grad():
        assert model(clips).loss is None
        torch.testing.assert_close(model(clips, labels=labels).loss.double(), 2 * boundary_loss)
        torch.testing.assert_close(model(clips, action_labels=actions).loss.double(), 0.5 * action_loss)
        divided = model(clips, action_labels=actions, num_actions_expected=4.0)
    torch.testing.assert_close(divided.action_loss.double(), action_loss * 2 / 4)


def test_a_batch_without_a_single_action_has_no_action_loss_and_no_nan():
    model = two_head().train()
    clips, labels = random_clips(*CLIPS), torch.tensor([0, 0])
    output = model(clips, labels=labels, action_labels=torch.tensor([-100, -100]))
    assert output.action_loss.item() == 0
    assert torch.equal(output.loss, output.boundary_loss)
    output.loss.backward()
    # Zero and there: processes that share gradients need one from each.
    assert (model.action_classifier.weight.grad == 0).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_ignored_clips_give_the_action_head_no_gradient():
    logits = torch.tensor([[1.0, 2.0], [3.0, -1.0]], requires_grad=True)
    mean_cross_entropy(logits, torch.tensor([-100, 1])).backward()
    assert (logits.grad[0] == 0).all()
    wrong = np.exp(3.0) / (np.exp(3.0) + np.exp(-1.0))  # probability of the other class
    torch.testing.assert_close(logits.grad[1], torch.tensor([wrong, -wrong], dtype=torch.float32))


def test_both_heads_train_the_trunk():
    for given in ({"labels": torch.tensor([1, 2])}, {"action_labels": torch.tensor([1, 2])}):
        model = two_head().train()
        model(random_clips(*CLIPS), **given).loss.backward()
        assert all(p.grad.abs().sum() > 0 for p in model.bsp.parameters())
        heads = {"labels": model.classifier, "action_labels": model.action_classifier}
        for name, head in heads.items():
            assert (head.weight.grad is not None) == (name in given)


# --- distillation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reduction", "divisors"), [("sum", (1, 1)), ("mean", (5, WIDTH))])
def test_distillation_loss_is_the_equation_of_section_3_4(reduction, divisors):
    weights = {"action_feature_weight": 0.25, "boundary_feature_weight": 3.0, "cross_entropy_weight": 2.0}
    model = distilled(squared_error_reduction=reduction, **weights)
    clips, wanted, labels = random_clips(*CLIPS), teacher_features(), torch.tensor([2, -100])
    with torch.no_grad():
        output = model(clips, labels=labels, teacher_features=wanted)
        student = model.bsp(clips).pooler_output.double()
    errors = []
    for name, divisor in zip(("action", "boundary"), divisors, strict=True):
        projection = getattr(model, f"{name}_projection").double()
        projected = (student @ projection.weight.T + projection.bias).detach()
        squares = ((wanted[name] - projected) ** 2).sum(1).tolist()
        error = sum(squares) / 2 / divisor
        assert getattr(output, f"{name}_feature_loss").item() == pytest.approx(error, rel=1e-5)
        errors.append(error)
    cross_entropy = -log_softmax(output.logits)[0, 2].item()  # the second clip has no label
    assert output.classification_loss.item() == pytest.approx(cross_entropy, rel=1e-5)
    expected = 0.25 * errors[0] + 3 * errors[1] + 2 * cross_entropy
    assert output.loss.item() == pytest.approx(expected, rel=1e-5)


def test_gradient_reaches_student_and_projections_but_never_the_teachers():
    model = distilled().train()
    clips, wanted = random_clips(*CLIPS), teacher_features()
    for features in wanted.values():
        features.requires_grad_()
    model(clips, teacher_features=wanted).loss.backward()
    trained = [*model.bsp.parameters(), *model.action_projection.parameters()]
    assert all(p.grad.abs().sum() > 0 for p in [*trained, *model.boundary_projection.parameters()])
    assert model.classifier.weight.grad is None
    assert all(features.grad is None for features in wanted.values())


def test_each_teacher_pulls_at_its_own_projection():
    for name, other in (("action", "boundary"), ("boundary", "action")):
        model = distilled(**{f"{other}_feature_weight": 0.0}).train()
        model(random_clips(*CLIPS), teacher_features=teacher_features()).loss.backward()
        assert getattr(model, f"{name}_projection").weight.grad.abs().sum() > 0
        assert (getattr(model, f"{other}_projection").weight.grad == 0).all()


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"action": torch.zeros(2, 5)}, r"teacher_features\['boundary'\].*\(2, 32\), got nothing"),
        (teacher_features(action=4), r"\['action'\] must have the shape \(2, 5\), got \(2, 4\)"),
        # would broadcast into a wrong loss without a word
        (teacher_features(batch=1), r"must have the shape \(2, 5\), got \(1, 5\)"),
    ],
)
def test_features_that_do_not_fit_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        distilled()(random_clips(*CLIPS), teacher_features=features)


def test_projections_start_large_enough_to_let_gradients_through():
    torch.manual_seed(0)
    config = BSPDistilledConfig(backbone_config=tiny_config().backbone_config, boundary_feature_size=500)
    model = BSPForFeatureDistillation(config)
    assert model.boundary_projection.weight.std().item() == pytest.approx(WIDTH**-0.5, rel=0.05)
    assert (model.boundary_projection.bias == 0).all()
    assert model.classifier.weight.std().item() == pytest.approx(0.001, rel=0.3)


@pytest.mark.parametrize(
    ("config_class", "fields", "message"),
    [
        (BSPTwoHeadConfig, {"action_names": []}, "action_names"),
        (BSPTwoHeadConfig, {"action_names": ["run", "run"]}, "different names"),
        (BSPTwoHeadConfig, {"action_loss_weight": -1.0}, "action_loss_weight=-1.0 must not be negative"),
        (BSPTwoHeadConfig, {"action_loss_weight": 0, "boundary_loss_weight": 0}, "leaves no loss"),
        (BSPTwoHeadConfig, {"shift_div": 1}, "shift_div=1 must be at least 2"),
        (BSPDistilledConfig, {"action_feature_size": 0}, "action_feature_size=0"),
        (BSPDistilledConfig, {"squared_error_reduction": "max"}, "not one of sum, mean"),
        (BSPDistilledConfig, {"cross_entropy_weight": -1}, "cross_entropy_weight=-1"),
        (BSPDistilledConfig, {"num_frames": 0}, "num_frames=0"),
    ],
)
def test_fields_out_of_range_are_refused(config_class, fields, message):
    with pytest.raises(StrictDataclassError, match=message):
        config_class(**fields)


# --- all of them -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fusion", FUSIONS)
def test_saved_fusion_comes_back_bit_for_bit_and_auto_classes_know_it(fusion, tmp_path):
    model = FUSIONS[fusion]()
    model.save_pretrained(tmp_path)
    loaded, report = type(model).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    for (name, value), other in zip(model.state_dict().items(), loaded.state_dict().values(), strict=True):
        assert torch.equal(value, other), name
    assert type(AutoConfig.from_pretrained(tmp_path)) is type(model.config)
    fields = (
        "action_names",
        "action_feature_size",
        "boundary_feature_size",
        "stream_names",
        "stream_configs",
    )
    for field in fields:
        assert getattr(loaded.config, field, None) == getattr(model.config, field, None)

    encoder, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    classes = {"two-head": BSPTwoHeadModel, "distilled": BSPDistilledModel, "two-stream": BSPTwoStreamModel}
    assert type(encoder) is classes[fusion]
    clips = random_clips(*CLIPS)
    with torch.no_grad():
        assert torch.equal(encoder(clips).pooler_output, model.base_model(clips).pooler_output)
        if fusion != "two-stream":
            classifier = AutoModelForVideoClassification.from_pretrained(tmp_path)
            assert type(classifier) is type(model)
            assert torch.equal(classifier(clips).logits, model(clips).logits)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_published_fusion_goes_through_the_pipeline(fusion, tmp_path):
    model = FUSIONS[fusion]()
    save_checkpoint_folder(model, tiny_extractor(fps=10.0), tmp_path / "fused")
    video = render_video(tmp_path / "video.mp4", 50, size=(64, 48))
    assert type(AutoFeatureExtractor.from_pretrained(tmp_path / "fused")) is BSPFeatureExtractor
    assert type(AutoImageProcessor.from_pretrained(tmp_path / "fused")) is BSPFeatureExtractor
    track = pipeline("video-feature-extraction", model=str(tmp_path / "fused"))(video)
    width = WIDTH + 16 if fusion == "two-stream" else WIDTH
    assert track["features"].shape == (3, width) and track["fps"] == 10
    encoder = EncoderRecord.from_dict(track["encoder"])
    assert encoder.id == "fused"
    assert len(encoder.parts) == (2 if fusion == "two-stream" else 0)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_missing_fusion_says_how_to_get_one(fusion, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match="no model 'bsp-fused': it is no local folder"):
        type(FUSIONS[fusion]()).from_pretrained("bsp-fused")


@pytest.mark.parametrize("fusion", FUSIONS)
def test_bf16_keeps_batch_norms_in_float32(fusion, tmp_path):
    model = FUSIONS[fusion]()
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path, dtype=torch.bfloat16)
    norms = [m for m in loaded.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and {norm.running_var.dtype for norm in norms} == {torch.float32}
    others = {p.dtype for name, p in loaded.named_parameters() if "normalization" not in name}
    assert others == {torch.bfloat16}
    clips = random_clips(*CLIPS)
    with torch.no_grad():
        exact, rounded = (m.base_model(clips).pooler_output for m in (model, loaded))
    assert (rounded.float() - exact).abs().max() < 0.05 * exact.abs().max()


@pytest.mark.parametrize("model_class", [BSPForTwoHeadClassification, BSPForFeatureDistillation])
def test_trunks_start_from_an_image_model(model_class, tmp_path):
    image_model = randomize(AutoModel.from_config(tiny_config().backbone_config))
    image_model.save_pretrained(tmp_path)
    model = model_class.from_backbone(str(tmp_path), num_frames=4)
    assert type(model.config) is model_class.config_class
    assert model.config.num_frames == 4
    for name, value in image_model.state_dict().items():
        assert torch.equal(model.bsp.backbone.state_dict()[name], value), name


@pytest.mark.slow
@pytest.mark.parametrize("fusion", FUSIONS)
def test_exported_program_takes_any_batch_and_gives_the_same(fusion):
    model = FUSIONS[fusion]()
    exported = torch.export.export(
        model,
        (random_clips(*CLIPS),),
        {"return_dict": False},
        dynamic_shapes={"pixel_values": {0: torch.export.Dim("batch", min=1, max=64)}, "return_dict": None},
    ).module()
    for batch in (1, 3):
        clips = random_clips(batch, *CLIPS[1:], seed=batch)
        with torch.no_grad():
            expected = model(clips, return_dict=False)
            for part, expected_part in zip(exported(clips, return_dict=False), expected, strict=True):
                torch.testing.assert_close(part, expected_part)
