"""2D-TAN: the published numbers, an independent direct version, checkpoints, and what users may rely on."""

import numpy as np
import pytest
import torch
from support.published_weights import export_tan_state_dict
from support.suppression import temporal_nms
from torch.nn import functional as F

from bsp_hf.localization.tan.configuration_tan import TANConfig
from bsp_hf.localization.tan.conversion import convert_tan_state_dict
from bsp_hf.localization.tan.decoding import decode_tan
from bsp_hf.localization.tan.loss import tan_loss
from bsp_hf.localization.tan.modeling_tan import PooledProposals, TANForVideoGrounding
from bsp_hf.localization.tan.proposal_map import MaskedMapConvolution, plan_convolutions, proposal_layout

SMALL_CASES = ["tan/tan_pool_small", "tan/tan_conv_small", "tan/tan_pool_multiscale"]
FULL_CASES = [pytest.param(name, marks=pytest.mark.slow) for name in ("tan/tan_pool", "tan/tan_conv")]


def tiny_config(**kwargs) -> TANConfig:
    sizes = {"feature_dim": 12, "num_rows": 32, "num_clips": 8, "hidden_dim": 16, "scale_layers": [8]}
    text = {"word_dim": 10, "text_hidden_dim": 14, "num_text_layers": 2}
    maps = {"map_kernel_sizes": [3, 3, 3], "map_paddings": [3, 0, 0]}
    return TANConfig(**{**sizes, **text, **maps, **kwargs})


def tiny_inputs(config: TANConfig, batch: int = 3, num_words: int = 6) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(batch, config.num_rows, config.feature_dim, generator=generator)
    if config.query_encoder == "sentence":
        return {
            "features": features,
            "sentence_vectors": torch.randn(batch, config.word_dim, generator=generator),
        }
    lengths = torch.tensor([num_words, 2, 4])[:batch]
    mask = (torch.arange(num_words) < lengths[:, None]).float()
    words = torch.randn(batch, num_words, config.word_dim, generator=generator) * mask[:, :, None]
    return {"features": features, "word_vectors": words, "word_mask": mask}


def tiny_model(seed: int = 0, **kwargs) -> TANForVideoGrounding:
    torch.manual_seed(seed)
    return TANForVideoGrounding(tiny_config(**kwargs)).eval()


def golden_config(case) -> TANConfig:
    settings = case.meta["config"]
    modules = settings["config"]
    frame, text, maps, proposals = (
        modules[f"{name}_MODULE"]["PARAMS"] for name in ("FRAME", "FUSION", "MAP", "PROP")
    )
    return TANConfig(
        feature_dim=frame["INPUT_SIZE"],
        num_rows=settings["num_sample_clips"],
        num_clips=settings["num_sample_clips"] // settings["target_stride"],
        hidden_dim=frame["HIDDEN_SIZE"],
        proposals="conv" if "Conv" in modules["PROP_MODULE"]["NAME"] else "pool",
        scale_layers=proposals["NUM_SCALE_LAYERS"],
        word_dim=text["TXT_INPUT_SIZE"],
        text_hidden_dim=text["TXT_HIDDEN_SIZE"],
        num_text_layers=text["LSTM"]["NUM_LAYERS"],
        map_kernel_sizes=maps["KERNEL_SIZES"],
        map_paddings=maps["PADDINGS"],
    )


def tensors(arrays) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def run_golden(model: TANForVideoGrounding, case):
    inputs = {name: tensor.to(model.dtype) for name, tensor in tensors(case.inputs).items()}
    return model(
        features=inputs["snippets"],
        word_vectors=inputs["words"] * inputs["word_mask"],
        word_mask=inputs["word_mask"].squeeze(2),
        labels=inputs["gt_map"].squeeze(1),
        output_hidden_states=True,
    )


@pytest.mark.parametrize("name", SMALL_CASES + FULL_CASES)
def test_network_gives_the_published_numbers(golden, name):
    case = golden(name)
    config = golden_config(case)
    model = TANForVideoGrounding(config).eval()
    model.load_state_dict(convert_tan_state_dict(tensors(case.weights), config))
    assert sum(parameter.numel() for parameter in model.parameters()) == case.meta["params"]
    output = run_golden(model, case)
    output.logits.retain_grad()
    output.loss.backward()

    step = max(1, config.hidden_dim // 16)
    case.check("frame_feature", output.clip_features.detach().mT[:, :: max(1, config.hidden_dim // 64)])
    case.check("sentence_feature", output.query_features.detach())
    case.check("proposal_map_sample", output.proposal_maps.detach()[:, ::step])
    case.check("fused_map_sample", output.fused_maps.detach()[:, ::step])
    case.check("mask", model.mask.float().expand(len(output.logits), 1, -1, -1))
    case.check("scores", output.logits.detach()[:, None])
    case.check("prob", output.probabilities.detach()[:, None])
    case.check("loss", output.loss.detach())
    case.check("grad_scores", output.logits.grad[:, None])
    # In float32 a value next to a kink of a ReLU falls to either side of it, as the processor rounds.
    model.double().zero_grad()
    run_golden(model, case).loss.backward()
    case.check("grad_frame_conv_bias", model.frame_layer.vis_conv.bias.grad)
    model.float()
    durations_s = [entry[0] for entry in case.meta["config"]["durations_and_spans"]]
    ranked = decode_tan(output.probabilities.detach(), durations_s, nms_threshold=1.0, max_segments=12)
    case.check("top12_seconds", np.stack([found.segments for found in ranked]))

    # The model leaves cells out that hold no span; asked for all of them, the same plan gives the whole map.
    whole = MaskedMapConvolution(
        model.layout.mask,
        config.hidden_dim,
        config.map_kernel_sizes,
        config.map_paddings,
        wanted=np.ones_like(model.layout.mask),
    )
    whole.load_state_dict(model.map_layer.state_dict())
    with torch.no_grad():
        case.check("conv_map_sample", whole(output.fused_maps)[:, ::step])
    np.testing.assert_allclose(
        output.context_maps.detach()[:, ::step],
        case.outputs["conv_map_sample"] * case.outputs["mask"],
        **dict(zip(("rtol", "atol"), case.tolerance("conv_map_sample"), strict=True)),
    )


def test_loss_and_its_gradient_are_the_published_ones(golden):
    case = golden("tan/loss")
    for index, setting in enumerate(case.meta["config"]["settings"]):
        scores = torch.from_numpy(case.inputs["scores"]).requires_grad_()
        mask, ious = torch.from_numpy(case.inputs["mask"]), torch.from_numpy(case.inputs["iou"])
        loss = tan_loss(scores, mask, ious, setting["min_iou"], setting["max_iou"], setting["bias"])
        loss.backward()
        case.check(f"loss{index}", loss.detach())
        case.check(f"grad{index}", scores.grad)


def test_suppression_keeps_the_published_segments(golden_json):
    for run in golden_json("tan/evaluation")["runs"]:
        for segments, expected in zip(run["segments"], run["after_nms_top5"], strict=True):
            kept = temporal_nms(segments, -np.arange(len(segments)), run["nms_threshold"], max_num=5)
            np.testing.assert_allclose(np.array(segments)[kept], expected, rtol=1e-9)


@pytest.mark.parametrize(("proposals", "num_parameters"), [("pool", 60_925_953), ("conv", 69_060_609)])
def test_default_sizes_are_the_published_ones(proposals, num_parameters):
    with torch.device("meta"):
        model = TANForVideoGrounding(TANConfig.charades(proposals))
    assert sum(parameter.numel() for parameter in model.parameters()) == num_parameters
    assert len(model.state_dict()) == {"pool": 36, "conv": 68}[proposals]


def test_presets_hold_the_published_settings():
    charades, activitynet, tacos = (
        getattr(TANConfig, name)() for name in ("charades", "activitynet_captions", "tacos")
    )
    assert (charades.num_clips, activitynet.num_clips, tacos.num_clips) == (16, 64, 128)
    assert [charades.rows_per_clip, activitynet.rows_per_clip, tacos.rows_per_clip] == [16, 4, 2]
    assert charades.map_kernel_sizes == tacos.map_kernel_sizes == [5] * 8
    assert activitynet.map_kernel_sizes == [9] * 4
    assert (tacos.min_iou, tacos.max_iou) == (0.3, 0.7)
    assert (charades.nms_threshold, TANConfig.charades("conv").nms_threshold) == (0.45, 0.5)
    assert TANConfig.charades(feature_dim=512, nms_threshold=0.3).feature_dim == 512


def test_one_scale_fills_the_upper_triangle():
    layout = proposal_layout(5, [5])
    assert sorted(zip(layout.first, layout.last, strict=True)) == [
        (i, j) for i in range(5) for j in range(i, 5)
    ]


def test_second_scale_starts_on_even_clips_behind_the_gap():
    # Scale 0 has lengths 1-3; scale 1 begins with a kernel-3 stride-2 step: length 3 + 2, and then two more.
    layout = proposal_layout(10, [3, 2])
    spans = set(zip(layout.first.tolist(), layout.last.tolist(), strict=True))
    scale_0 = {(i, i + length) for length in range(3) for i in range(10 - length)}
    assert spans == scale_0 | {(0, 4), (2, 6), (4, 8), (0, 6), (2, 8)}


@pytest.mark.parametrize("scale_layers", [[], [0], [9], [4, 4]])
def test_layout_refuses_scales_without_spans(scale_layers):
    with pytest.raises(ValueError, match="scale_layers"):
        proposal_layout(8, scale_layers)


@pytest.mark.parametrize(("num_clips", "scale_layers"), [(7, [7]), (1, [1]), (40, [8, 4, 4])])
def test_pooled_proposals_are_the_maximum_over_their_clips(num_clips, scale_layers):
    layout = proposal_layout(num_clips, scale_layers)
    clips = torch.randn(2, num_clips, 5, dtype=torch.float64, requires_grad=True)
    pooled = PooledProposals(layout)(clips)
    spans = list(zip(layout.first, layout.last, strict=True))
    expected = torch.stack([clips[:, i : j + 1].amax(dim=1) for i, j in spans], dim=1)
    assert torch.equal(pooled, expected)
    weights = torch.randn_like(pooled)
    found, wanted = (torch.autograd.grad((x * weights).sum(), clips)[0] for x in (pooled, expected))
    torch.testing.assert_close(found, wanted)


def direct_map_convolution(convs, maps, mask, paddings):
    valid = mask[None, None].to(maps.dtype)
    for conv, padding in zip(convs, paddings, strict=True):
        maps = F.conv2d(maps, conv.weight, conv.bias, padding=padding).relu()
        count = F.conv2d(valid, torch.ones_like(conv.weight[:1, :1]), padding=padding).round()
        maps = maps * torch.where(count > 0, 1 / count, torch.zeros_like(count))
        valid = (count > 0).to(maps.dtype)
    return maps


@pytest.mark.parametrize(
    ("num_clips", "scale_layers", "kernels", "paddings"),
    [
        (16, [16], [5] * 4, [8, 0, 0, 0]),
        (48, [8, 4, 4], [9, 9], [8, 0]),
        (24, [24], [3, 5, 3], [1, 2, 1]),
        (6, [2], [3], [1]),
    ],
)
def test_map_convolution_equals_the_direct_one_on_every_span(num_clips, scale_layers, kernels, paddings):
    torch.manual_seed(2)
    mask = proposal_layout(num_clips, scale_layers).mask
    module = MaskedMapConvolution(mask, 4, kernels, paddings).double()
    maps = (torch.randn(2, 4, num_clips, num_clips) * torch.from_numpy(mask)).double().requires_grad_()
    found = module(maps)
    expected = direct_map_convolution(
        module.convs, maps, torch.from_numpy(mask), paddings
    ) * torch.from_numpy(mask)
    torch.testing.assert_close(found, expected)
    leaves = [maps, *module.parameters()]
    weights = torch.randn_like(found)
    for mine, direct in zip(
        torch.autograd.grad((found * weights).sum(), leaves),
        torch.autograd.grad((expected * weights).sum(), leaves),
        strict=True,
    ):
        # Gradients of cells that hold no span are not needed and not computed.
        mine, direct = (g * torch.from_numpy(mask) if g.shape == maps.shape else g for g in (mine, direct))
        torch.testing.assert_close(mine, direct)


def test_plan_of_an_arbitrary_mask_gives_the_whole_map_when_asked():
    rng = np.random.default_rng(4)
    for _ in range(5):
        mask = rng.random((9, 9)) < 0.15
        module = MaskedMapConvolution(mask, 2, [3, 5], [3, 0], wanted=np.ones((9, 9), dtype=bool)).double()
        maps = torch.randn(1, 2, 9, 9, dtype=torch.float64) * torch.from_numpy(mask)
        expected = direct_map_convolution(module.convs, maps, torch.from_numpy(mask), [3, 0])
        torch.testing.assert_close(module(maps), expected)


def test_plan_computes_well_under_the_dense_map():
    for config, share in ((TANConfig.charades(), 0.62), (TANConfig.activitynet_captions(), 0.68)):
        layout = proposal_layout(config.num_clips, config.scale_layers)
        plans = plan_convolutions(layout.mask, config.map_kernel_sizes, config.map_paddings)
        computed = sum(
            (s.row_stop - s.row_start) * (s.column_stop - s.column_start)
            for plan in plans
            for s in plan.strips
        )
        assert computed < share * sum(plan.size**2 for plan in plans)


@pytest.mark.parametrize("kwargs", [{}, {"proposals": "conv"}, {"query_encoder": "sentence"}])
def test_saved_model_gives_the_same_scores(tmp_path, kwargs):
    model = tiny_model(**kwargs)
    inputs = tiny_inputs(model.config)
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    loaded = TANForVideoGrounding.from_pretrained(tmp_path)
    assert {name: getattr(loaded.config, name) for name in kwargs} == kwargs
    assert loaded.config.map_paddings == model.config.map_paddings
    assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)


def test_model_built_for_a_missing_file_part_starts_as_a_fresh_one(tmp_path):
    # from_pretrained builds on the meta device: what the file lacks must be initialised, not left as garbage.
    model = tiny_model()
    model.save_pretrained(tmp_path)
    from safetensors.torch import load_file, save_file

    weights = load_file(tmp_path / "model.safetensors")
    kept = {key: value for key, value in weights.items() if not key.startswith("map_layer")}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded = TANForVideoGrounding.from_pretrained(tmp_path)
    bound = 1 / np.sqrt(16 * 9)
    for conv in loaded.map_layer.convs:
        assert 0.5 * bound < conv.weight.abs().max() <= bound
    assert loaded(**tiny_inputs(loaded.config)).logits.isfinite().all()


def test_bfloat16_model_runs_and_stays_close(tmp_path):
    model = tiny_model()
    inputs = tiny_inputs(model.config)
    model.save_pretrained(tmp_path)
    half = TANForVideoGrounding.from_pretrained(tmp_path, dtype=torch.bfloat16)
    half_inputs = {name: value.bfloat16() for name, value in inputs.items()}
    found, expected = half(**half_inputs).probabilities, model(**inputs).probabilities
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.02, rtol=0)


def test_longer_padding_changes_nothing():
    model = tiny_model()
    inputs = tiny_inputs(model.config)
    longer = dict(inputs)
    longer["word_vectors"] = F.pad(inputs["word_vectors"], (0, 0, 0, 5))
    longer["word_mask"] = F.pad(inputs["word_mask"], (0, 5))
    torch.testing.assert_close(model(**longer).logits, model(**inputs).logits)


def test_a_query_scores_the_same_alone_and_in_a_batch():
    model = tiny_model()
    inputs = tiny_inputs(model.config)
    together = model(**inputs).logits
    for row in range(3):
        alone = model(**{name: value[row : row + 1] for name, value in inputs.items()}).logits
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=1e-5)


def test_missing_word_mask_means_that_every_position_is_a_word():
    model = tiny_model()
    inputs = tiny_inputs(model.config)
    ones = torch.ones_like(inputs["word_mask"])
    without = model(features=inputs["features"], word_vectors=inputs["word_vectors"])
    assert torch.equal(without.logits, model(**{**inputs, "word_mask": ones}).logits)


def test_gradient_reaches_every_parameter_and_agrees_with_differences():
    for kwargs in ({}, {"proposals": "conv", "scale_layers": [4]}):
        model = tiny_model(**kwargs).double()
        inputs = {name: value.double() for name, value in tiny_inputs(model.config).items()}
        labels = torch.rand(3, 8, 8, dtype=torch.float64)
        model(**inputs, labels=labels).loss.backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
            flat, index = parameter.data.view(-1), parameter.numel() // 2
            original, losses = flat[index].item(), []
            for change in (1e-6, -1e-6):
                flat[index] = original + change
                with torch.no_grad():
                    losses.append(model(**inputs, labels=labels).loss.item())
            flat[index] = original
            slope = (losses[0] - losses[1]) / 2e-6
            assert abs(slope - parameter.grad.view(-1)[index].item()) < 1e-6 + 1e-4 * abs(slope), name


@pytest.mark.slow
def test_training_finds_the_annotated_span():
    model = tiny_model().train()
    inputs = tiny_inputs(model.config, batch=2)
    labels = torch.zeros(2, 8, 8)
    labels[0, 1, 3], labels[1, 4, 7] = 1.0, 1.0
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        model(**inputs, labels=labels).loss.backward()
        optimizer.step()
    best = model(**inputs).probabilities.flatten(1).argmax(dim=1)
    assert best.tolist() == [1 * 8 + 3, 4 * 8 + 7]


def test_decoding_ranks_and_suppresses_like_a_plain_loop():
    rng = np.random.default_rng(0)
    probabilities = np.triu(rng.random((2, 6, 6)))
    durations_s = [12.0, 30.0]
    found = decode_tan(probabilities, durations_s, nms_threshold=0.5, max_segments=4)
    for probability, duration_s, detections in zip(probabilities, durations_s, found, strict=True):
        left = sorted(((probability[i, j], i, j) for i in range(6) for j in range(i, 6)), reverse=True)
        expected = []
        while left and len(expected) < 4:
            _, i, j = left.pop(0)
            expected.append((i / 6 * duration_s, (j + 1) / 6 * duration_s))
            left = [
                (p, k, m)
                for p, k, m in left
                if max(0, min(j, m) + 1 - max(i, k)) / (max(j, m) + 1 - min(i, k)) <= 0.5
            ]
        np.testing.assert_allclose(detections.segments, expected)
        assert (np.diff(detections.scores) <= 0).all()


def test_ranking_holds_every_cell_and_puts_the_unfilled_last():
    probabilities = np.zeros((1, 4, 4))
    probabilities[0, 1, 2] = 0.7
    ranked = decode_tan(probabilities, [8.0], nms_threshold=1.0, max_segments=100)[0]
    assert len(ranked) == 10
    np.testing.assert_allclose(ranked.segments[0], [2.0, 6.0])
    assert (ranked.scores[1:] == 0).all()


def test_published_checkpoint_makes_the_round_trip():
    model = tiny_model(proposals="conv")
    published = export_tan_state_dict(model.state_dict())
    assert published["frame_layer.vis_conv.weight"].shape == (16, 12, 1)
    assert published["pred_layer.weight"].shape == (1, 16, 1, 1)
    assert published["prop_layer.layers.0.1.weight"].shape == (16, 16, 2)
    back = convert_tan_state_dict(published, model.config)
    assert back.keys() == model.state_dict().keys()
    assert all(torch.equal(back[key], value) for key, value in model.state_dict().items())


def test_conversion_is_strict_on_keys_and_shapes():
    model = tiny_model()
    published = export_tan_state_dict(model.state_dict())
    lacking = {key: value for key, value in published.items() if key != "pred_layer.bias"}
    with pytest.raises(ValueError, match=r"1 missing \(pred_layer.bias\)"):
        convert_tan_state_dict(lacking, model.config)
    with pytest.raises(ValueError, match="wrapper prefix"):
        convert_tan_state_dict({f"module.{key}": value for key, value in published.items()}, model.config)
    with pytest.raises(ValueError, match=r"frame_layer.vis_conv.weight is \(16, 12\), expected \(16, 20\)"):
        convert_tan_state_dict(published, tiny_config(feature_dim=20))


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("proposals", "mean", "pool, conv"),
        ("query_encoder", "bert", "lstm, sentence"),
        ("num_rows", 33, "multiple of num_clips"),
        ("map_paddings", [3, 0], "one padding per kernel"),
        ("map_paddings", [2, 0, 0], "change the side of the map by -2"),
        ("max_iou", 0.5, "min_iou=0.5"),
        ("feature_dim", 0, "feature_dim=0"),
    ],
)
def test_config_refuses_what_cannot_work(field, value, match):
    with pytest.raises(Exception, match=match):
        tiny_config(**{field: value})


def test_wrong_inputs_are_named():
    model = tiny_model()
    inputs = tiny_inputs(model.config)
    with pytest.raises(ValueError, match="average_rows"):
        model(features=inputs["features"][:, :5], word_vectors=inputs["word_vectors"])
    with pytest.raises(ValueError, match="word_vectors is missing"):
        model(features=inputs["features"])
    with pytest.raises(ValueError, match=r"word_vectors has the shape .* expected \(3, num_words, 10\)"):
        model(features=inputs["features"], word_vectors=inputs["word_vectors"][..., :4])
    with pytest.raises(ValueError, match="word_mask has the shape"):
        model(**{**inputs, "word_mask": inputs["word_mask"].unsqueeze(2)})
    with pytest.raises(ValueError, match="labels has the shape"):
        model(**inputs, labels=torch.zeros(3, 4, 4))


def test_tuple_output_has_the_loss_first():
    model = tiny_model()
    inputs = tiny_inputs(model.config)
    output = model(**inputs, labels=torch.ones(3, 8, 8), output_hidden_states=True)
    assert list(output) == list(type(output).__dataclass_fields__)
    loss, logits, _ = model(**inputs, labels=torch.ones(3, 8, 8), return_dict=False)
    assert torch.equal(loss, output["loss"]) and torch.equal(logits, output.logits)
