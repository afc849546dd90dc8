"""The G-TAD model: published numbers and weights, gradients, saving, precisions, and what it refuses."""

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from support.published_weights import export_gtad_state_dict
from support.subgraphs import align1d

from bsp_hf.localization.gtad.configuration_gtad import GTADConfig
from bsp_hf.localization.gtad.conversion import convert_gtad_state_dict
from bsp_hf.localization.gtad.modeling_gtad import (
    GTADForTemporalActionLocalization,
    GTADModel,
    gather_steps,
    nearest_steps,
)

TINY = {
    "feature_dim": 8,
    "num_steps": 10,
    "max_duration": 6,
    "hidden_dim": 8,
    "aligned_dim": 24,
    "map_dim": 16,
    "num_groups": 2,
    "num_inner_bins": 4,
    "num_context_bins": 2,
}
CASES = [
    "gtad_small_style0",
    "gtad_small_style1",
    "gtad_small_style2",
    "gtad_anet",
    "gtad_thumos",
]


def config_of(case):
    """Translate the options of the published code."""
    options = case.meta["config"]
    preset = GTADConfig.thumos14 if options["branch"] == "thumos" else GTADConfig.activitynet
    widths = {"hidden_dim": "h_dim_1d", "map_dim": "h_dim_2d", "aligned_dim": "h_dim_3d"}
    return preset(
        feature_dim=options["feat_dim"],
        num_steps=options["temporal_scale"],
        max_duration=options["max_duration"],
        context_style=options["goi_style"],
        inner_sampling_ratio=options["goi_samp"],
        map_kernel_size=options["kern_2d"],
        **{ours: options[theirs] for ours, theirs in widths.items() if theirs in options},
    )


def load_published(case):
    weights = {f"module.{key}": torch.from_numpy(value) for key, value in case.weights.items()}
    config = config_of(case)
    model = GTADForTemporalActionLocalization(config).eval()
    model.load_state_dict(convert_gtad_state_dict(weights, config), strict=True)
    return model


def subgraph_map(model, hidden):
    """What the head would read if it aligned first: (batch, channels * bins, max_duration, num_steps)."""
    config, graph = model.config, hidden.last_hidden_state.transpose(1, 2)
    steps, durations, batch = config.num_steps, config.max_duration, len(graph)
    regions = []
    for b in range(batch):
        for i in range(steps):
            for j in range(durations):
                margin = (j + 1) / 2
                regions.append([b, i - margin, i + j + margin] if i + j < steps else [b, 0, 0])
    bins = align1d(graph, regions, config.num_inner_bins, config.inner_sampling_ratio)
    if config.context_style:
        lists = torch.cat(hidden.neighbors, 2) if config.context_style == 2 else nearest_steps(graph, 3)
        context = gather_steps(graph, lists).mean(3)
        bins = torch.cat([bins, align1d(context, regions, config.num_context_bins)], dim=2)
    return bins.reshape(batch, steps, durations, -1).permute(0, 3, 2, 1)


def draw_labels(config, batch=2, seed=0):
    g = torch.Generator().manual_seed(seed)
    shape = (batch, config.max_duration, config.num_steps)
    return {
        "features": torch.randn(batch, config.num_steps, config.feature_dim, generator=g),
        "iou_map_labels": torch.rand(shape, generator=g),
        "start_labels": torch.rand(batch, config.num_steps, generator=g),
        "end_labels": torch.rand(batch, config.num_steps, generator=g),
        "loss_noise": torch.rand(2, *shape, generator=g),
    }


def tiny_model(seed=0, **changes):
    torch.manual_seed(seed)
    return GTADForTemporalActionLocalization(GTADConfig(**{**TINY, **changes}))


def test_hidden_states_are_those_behind_the_stem_and_both_blocks():
    model = tiny_model().eval()
    features = draw_labels(model.config)["features"]
    assert model(features).hidden_states is None and model.gtad(features).hidden_states is None
    found = model.gtad(features, output_hidden_states=True)
    stem, base, graph = found.hidden_states
    assert torch.equal(base, found.base_features) and torch.equal(graph, found.last_hidden_state)
    with torch.no_grad():
        expected = model.gtad.backbone1[1](model.gtad.backbone1[0](features.transpose(1, 2)))
    torch.testing.assert_close(stem.transpose(1, 2), expected)
    whole = model(features, output_hidden_states=True)
    assert list(whole)[-1] == "hidden_states" and len(whole.hidden_states) == 3
    assert torch.equal(whole.iou_map, model(features).iou_map)
    by_config = tiny_model(output_hidden_states=True).eval()
    assert torch.equal(by_config(features, return_dict=False)[-1][2], graph)


class TestPublishedWeights:
    @pytest.mark.parametrize("name", [*CASES[:4], pytest.param(CASES[4], marks=pytest.mark.slow)])
    def test_reproduces_the_network(self, golden, name):
        case = golden(f"gtad/{name}")
        model = load_published(case)
        features = torch.from_numpy(case.inputs["snippets"]).transpose(1, 2)
        with torch.no_grad():
            hidden = model.gtad(features)
            output = model(features)
        case.check("base_feature", hidden.base_features.transpose(1, 2))
        case.check("graph_feature", hidden.last_hidden_state.transpose(1, 2))
        for n, neighbors in enumerate(hidden.neighbors, start=1):
            case.check(f"knn_idx_backbone{n}", neighbors)
        for output_name in ("iou_map", "start", "end"):
            case.check(output_name, output[output_name])

    @pytest.mark.parametrize("name", CASES[:3])
    def test_reproduces_the_sub_graph_map(self, golden, name):
        case = golden(f"gtad/{name}")
        model = load_published(case)
        with torch.no_grad():
            maps = subgraph_map(model, model.gtad(torch.from_numpy(case.inputs["snippets"]).transpose(1, 2)))
        assert list(maps.shape) == case.meta["subgraph_map_shape"]
        durations, steps = maps.shape[2:]
        case.check("subgraph_map_sample", maps[:, ::61, :: max(1, durations // 10), :: max(1, steps // 10)])

    @pytest.mark.slow
    @pytest.mark.parametrize("name", CASES[3:])
    def test_reproduces_the_sub_graph_map_at_full_size(self, golden, name):
        self.test_reproduces_the_sub_graph_map(golden, name)

    @pytest.mark.parametrize("name", CASES)
    def test_keys_survive_the_round_trip(self, golden_json, name):
        listed = {entry["key"]: tuple(entry["shape"]) for entry in golden_json(f"gtad/{name}")["state_dict"]}
        original = {f"module.{key}": torch.zeros(shape) for key, shape in listed.items()}
        config = config_of(type("Case", (), {"meta": golden_json(f"gtad/{name}")}))
        back = export_gtad_state_dict(convert_gtad_state_dict(original, config))
        assert {key: value.shape for key, value in back.items()} == {k: v.shape for k, v in original.items()}
        assert len(back) == 64

    def test_weight_that_is_missing_unknown_or_misshapen_is_named(self):
        model = tiny_model()
        original = export_gtad_state_dict(model.state_dict())
        key = "module.localization.8.bias"
        for broken, message in (
            ({k: v for k, v in original.items() if k != key}, r"1 missing \(localization.8.bias\)"),
            ({**original, "module.extra": torch.zeros(1)}, r"1 unknown \(extra\)"),
            ({**original, key: torch.zeros(3)}, r"localization.8.bias is \(3,\), expected \(2,\)"),
        ):
            with pytest.raises(ValueError, match=message):
                convert_gtad_state_dict(broken, model.config)

    @pytest.mark.parametrize(
        ("config", "count"),
        [(GTADConfig.activitynet(), 5_563_268), (GTADConfig.thumos14(), 5_617_540)],
        ids=["activitynet", "thumos14"],
    )
    def test_presets_have_the_published_number_of_parameters(self, config, count):
        with torch.device("meta"):
            assert GTADForTemporalActionLocalization(config).num_parameters() == count
            config.feature_dim += 4
            assert GTADForTemporalActionLocalization(config).num_parameters() == count + 4 * 192


class TestGradients:
    @pytest.mark.parametrize(
        "changes", [{}, {"context_style": 0}, {"context_style": 2}, {"map_kernel_size": 3}], ids=str
    )
    def test_equal_those_of_aligning_first(self, changes):
        model = tiny_model(**changes).double().eval()
        features = torch.randn(2, 10, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        features.requires_grad_()
        inputs = [features, *model.parameters()]
        upstream = torch.randn(2, 2, 6, 10, dtype=torch.float64)
        fast = model(features).iou_map
        assert fast.std() > 1e-3, "the map must vary, or the comparison says nothing"
        slow = model.localization(subgraph_map(model, model.gtad(features))).sigmoid()
        torch.testing.assert_close(fast, slow)
        pairs = zip(
            torch.autograd.grad((fast * upstream).sum(), inputs, allow_unused=True),
            torch.autograd.grad((slow * upstream).sum(), inputs, allow_unused=True),
            strict=True,
        )
        for fast_grad, slow_grad in pairs:
            assert (fast_grad is None) == (slow_grad is None)
            if fast_grad is not None:
                torch.testing.assert_close(fast_grad, slow_grad)

    def test_loss_reaches_every_parameter(self):
        model = tiny_model()
        model(**draw_labels(model.config)).loss.backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name

    def test_a_few_steps_lower_the_loss(self):
        model = tiny_model()
        batch = draw_labels(model.config)
        optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
        losses = []
        for _ in range(15):
            optimizer.zero_grad()
            loss = model(**batch).loss
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0]


class TestModel:
    def test_shapes(self):
        output = tiny_model()(torch.zeros(3, 10, 8))
        assert output.iou_map.shape == (3, 2, 6, 10)
        assert output.start.shape == output.end.shape == (3, 10)
        assert output.loss is None

    @pytest.mark.parametrize("kernel", [1, 3])
    def test_a_sample_does_not_depend_on_its_batch(self, kernel):
        model = tiny_model(map_kernel_size=kernel).double().eval()
        features = torch.randn(4, 10, 8, dtype=torch.float64)
        with torch.no_grad():
            together, alone = model(features), model(features[2:3])
        for name in ("iou_map", "start", "end"):
            torch.testing.assert_close(together[name][2:3], alone[name], rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("changes", [{}, {"map_kernel_size": 3, "context_style": 2}], ids=str)
    def test_save_and_load_give_the_same_bits(self, tmp_path, changes):
        model = tiny_model(**changes).eval()
        model.save_pretrained(tmp_path)
        assert (tmp_path / "model.safetensors").is_file()
        loaded, report = GTADForTemporalActionLocalization.from_pretrained(tmp_path, output_loading_info=True)
        assert not report["missing_keys"] and not report["unexpected_keys"]
        assert loaded.config.geometry == model.config.geometry
        features = torch.randn(2, 10, 8)
        with torch.no_grad():
            before, after = model(features), loaded.eval()(features)
        for name in ("iou_map", "start", "end"):
            assert torch.equal(before[name], after[name])

    def test_backbone_loads_from_the_full_checkpoint(self, tmp_path):
        model = tiny_model().eval()
        model.save_pretrained(tmp_path)
        backbone = GTADModel.from_pretrained(tmp_path).eval()
        features = torch.randn(1, 10, 8)
        assert torch.equal(backbone(features).last_hidden_state, model.gtad(features).last_hidden_state)

    def test_no_buffer_needs_filling_after_a_meta_load(self):
        assert not list(tiny_model().buffers())

    def test_initial_weights_have_torchs_scale(self):
        torch.manual_seed(0)
        model = GTADForTemporalActionLocalization(GTADConfig(feature_dim=8, num_steps=10, max_duration=6))
        weight = model.localization[0].weight
        # Uniform in +-1/sqrt(fan_in) has this standard deviation.
        assert weight.std().item() == pytest.approx((3 * weight.shape[1]) ** -0.5, rel=0.02)
        assert model.localization[0].bias.abs().max() <= weight.shape[1] ** -0.5

    @pytest.mark.parametrize("kernel", [1, 3])
    def test_autocast_trains_and_returns_float32_scores(self, kernel):
        model = tiny_model(map_kernel_size=kernel)
        batch = draw_labels(model.config)
        exact = model(batch["features"])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = model(**batch)
        output.loss.backward()
        assert output.iou_map.dtype == output.start.dtype == torch.float32
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())
        torch.testing.assert_close(output.start, exact.start, atol=0.05, rtol=0.05)

    def test_bfloat16_weights_run(self):
        model = tiny_model().to(torch.bfloat16)
        output = model(**draw_labels(model.config))
        output.loss.backward()
        assert torch.isfinite(output.loss)
        assert model.localization[0].weight.grad.dtype == torch.bfloat16

    def test_tuple_output_puts_the_loss_first(self):
        model = tiny_model()
        batch = draw_labels(model.config)
        output, values = model(**batch), model(**batch, return_dict=False)
        assert torch.equal(values[0], output.loss)
        assert len(values) == 7

    def test_loss_is_the_weighted_sum_of_its_terms(self):
        model = tiny_model(node_loss_weight=2, regression_loss_weight=3, classification_loss_weight=5)
        output = model(**draw_labels(model.config))
        total = 2 * output.node_loss + 3 * output.regression_loss + 5 * output.classification_loss
        torch.testing.assert_close(output.loss, total)

    def test_generator_fixes_the_noise(self):
        model = tiny_model()
        batch = draw_labels(model.config)
        del batch["loss_noise"]
        losses = [model(**batch, generator=torch.Generator().manual_seed(s)).loss.item() for s in (1, 1, 2)]
        assert losses[0] == losses[1] != losses[2]

    def test_partial_labels_and_wrong_shapes_are_named(self):
        model = tiny_model()
        batch = draw_labels(model.config)
        with pytest.raises(ValueError, match="Give all of"):
            model(batch["features"], start_labels=batch["start_labels"])
        with pytest.raises(ValueError, match=r"features must have the shape \(batch, 10, 8\)"):
            model(batch["features"].transpose(1, 2))
        with pytest.raises(ValueError, match="start_labels must have the shape"):
            model(**{**batch, "start_labels": batch["start_labels"][:1]})


class TestConfig:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("feature_dim", 10),
            ("num_steps", 0),
            ("max_duration", 101),
            ("num_neighbors", 200),
            ("context_style", 3),
            ("num_context_bins", 0),
            ("map_kernel_size", 2),
            ("soft_nms_sigma", 0.0),
            ("classification_smoothing", -1.0),
            ("hidden_dim", "wide"),
        ],
    )
    def test_bad_field_is_refused_by_name(self, field, value):
        with pytest.raises(StrictDataclassError, match=field):
            GTADConfig(**{field: value})

    def test_thumos_preset_differs_where_the_published_code_does(self):
        config = GTADConfig.thumos14(feature_dim=4096)
        assert (config.num_steps, config.max_duration, config.feature_dim) == (256, 64, 4096)
        assert (config.regression_loss_weight, config.classification_loss_weight) == (1, 10)
        assert (config.classification_smoothing, config.map_kernel_size) == (10, 3)

    def test_survives_json(self, tmp_path):
        config = GTADConfig.thumos14(context_style=2, max_segment_frames=None)
        config.save_pretrained(tmp_path)
        loaded = GTADConfig.from_pretrained(tmp_path)
        assert loaded.geometry == config.geometry
        assert loaded.max_segment_frames is None and not loaded.gate_proposals


@pytest.mark.gpu
def test_gpu_equals_cpu():
    model = tiny_model(map_kernel_size=3).eval()
    batch = draw_labels(model.config)
    expected = model(**batch)
    model.cuda()
    got = model(**{name: value.cuda() for name, value in batch.items()})
    np.testing.assert_allclose(got.iou_map.detach().cpu(), expected.iou_map.detach(), atol=1e-3)
    torch.testing.assert_close(got.loss.cpu(), expected.loss, rtol=1e-3, atol=1e-3)
    got.loss.backward()
