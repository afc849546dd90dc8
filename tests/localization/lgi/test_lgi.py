"""LGI: the published numbers, its blocks by hand, checkpoints, and what users may rely on."""

import copy

import numpy as np
import pytest
import torch
from support.published_weights import export_lgi_checkpoint
from torch.nn import functional as F

from bsp_hf.localization.lgi.configuration_lgi import LGIConfig
from bsp_hf.localization.lgi.conversion import LGI_PARTS, convert_lgi_checkpoint
from bsp_hf.localization.lgi.decoding import decode_lgi
from bsp_hf.localization.lgi.loss import attention_guidance_loss, distinct_attention_loss, span_loss
from bsp_hf.localization.lgi.modeling_lgi import (
    AttentivePooling,
    LGIForVideoGrounding,
    LocalBlocks,
    NonLocalBlock,
    masked_softmax,
)

FULL_CASES = [
    "lgi/lgi_charades",
    pytest.param("lgi/lgi_anet", marks=pytest.mark.slow),
    pytest.param("lgi/lgi_charades_wide", marks=pytest.mark.slow),
]


def tiny_config(**kwargs) -> LGIConfig:
    sizes = {"feature_dim": 12, "num_rows": 20, "hidden_dim": 16, "vocab_size": 30, "word_dim": 10}
    layers = {"attention_dim": 6, "local_kernel_size": 5, "num_heads": 2}
    return LGIConfig(**{**sizes, **layers, **kwargs})


def tiny_model(seed: int = 0, **kwargs) -> LGIForVideoGrounding:
    torch.manual_seed(seed)
    return LGIForVideoGrounding(tiny_config(**kwargs)).eval()


def tiny_inputs(config: LGIConfig) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    row_mask = (torch.arange(20) < torch.tensor([20, 13, 7])[:, None]).float()
    features = torch.randn(3, 20, config.feature_dim, generator=generator) * row_mask[:, :, None]
    word_mask = torch.arange(6) < torch.tensor([6, 1, 4])[:, None]
    inputs = {"features": features, "feature_mask": row_mask}
    if config.query_input == "word_ids":
        return {**inputs, "word_ids": torch.randint(4, 30, (3, 6), generator=generator) * word_mask}
    vectors = torch.randn(3, 6, config.word_dim, generator=generator)
    return {**inputs, "word_vectors": vectors * word_mask[:, :, None], "word_mask": word_mask}


def tiny_labels() -> dict[str, torch.Tensor]:
    target = torch.zeros(3, 20)
    target[0, 4:9], target[1, 2:5], target[2, 0:3] = 1, 1, 1
    spans = torch.tensor([[0.2, 0.45], [0.15, 0.4], [0.0, 0.5]])
    return {"labels": spans, "attention_labels": target}


def golden_model(case) -> LGIForVideoGrounding:
    settings = case.meta["config"]["model"]
    preset = LGIConfig.charades if settings["dataset"] == "charades" else LGIConfig.activitynet_captions
    config = preset(feature_dim=settings["video_enc_vemb_idim"], vocab_size=settings["query_enc_emb_idim"])
    # The presets must be the published settings, not merely reach the same shapes.
    assert config.num_phrases == settings["num_semantic_entity"]
    assert config.num_nonlocal_blocks == settings["lgi_global_num_nl_block"]
    assert config.num_heads == settings["lgi_global_nl_nheads"]
    assert config.attention_overlap == settings["dqa_lambda"]
    checkpoint: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in case.weights.items():
        part, name = key.split(".", 1)
        checkpoint.setdefault(part, {})[name] = torch.from_numpy(value)
    model = LGIForVideoGrounding(config).eval()
    model.load_state_dict(convert_lgi_checkpoint(checkpoint, config))
    num_unused = 512 * 512 + 512  # vti_fn.satt_fn.fc, which nothing reads
    assert sum(parameter.numel() for parameter in model.parameters()) + num_unused == case.meta["params"]
    return model


def run_golden(model, case):
    inputs = {name: torch.from_numpy(array) for name, array in case.inputs.items()}
    dtype = next(model.parameters()).dtype
    return model(
        features=(inputs["video_feats"] * inputs["video_mask"].unsqueeze(2)).to(dtype),
        feature_mask=inputs["video_mask"],
        word_ids=inputs["query_labels"],
        labels=torch.stack([inputs["start_pos"], inputs["end_pos"]], dim=1).to(dtype),
        attention_labels=inputs["attention_target"].to(dtype),
        output_hidden_states=True,
    )


@pytest.mark.parametrize("name", FULL_CASES)
def test_network_gives_the_published_numbers(golden, name):
    case = golden(name)
    model = golden_model(case)
    with torch.no_grad():
        output = run_golden(model, case)
    words, sentence, phrases, segments, local, semantic, pooled = output.hidden_states
    found = {
        "loc": output.spans,
        "temporal_attention": output.temporal_attention,
        "aggregation_weights": output.phrase_weights,
        "query_attention": output.query_attention,
        "word_feature": words,
        "sentence_feature": sentence,
        "phrase_feature": phrases,
        "segment_feature_sample": segments[..., ::16],
        "local_sample": local[..., ::16],
        "semantic_segment_sample": semantic[..., ::16],
        "pooled_feature": pooled,
        "loss_grounding": output.regression_loss,
        "loss_tag": output.attention_loss,
        "loss_dqa": output.distinct_loss,
        "loss_total": output.loss,
    }
    for key, value in found.items():
        case.check(key, value)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lgi/lgi_charades", "lgi/lgi_anet", "lgi/lgi_charades_wide"])
def test_network_gives_the_published_gradients(golden, name):
    case = golden(name)
    # In float64: one of 650 000 units of lgi_anet lies 7e-8 above its ReLU, and float32 puts it on one side
    # or the other by the order of a sum, which moves the gradient by 4e-6.
    model = golden_model(case).double()
    output = run_golden(model, case)
    # The file's first two gradients are those of the losses with the network's outputs as leaves.
    case.check("grad_loc", torch.autograd.grad(output.regression_loss, output.spans, retain_graph=True)[0])
    case.check(
        "grad_temporal_attention",
        torch.autograd.grad(output.attention_loss, output.temporal_attention, retain_graph=True)[0],
    )
    output.loss.backward()
    case.check("grad_video_linear_bias", model.video_enc.vid_emb_fn[0].bias.grad)
    case.check("grad_query_rnn_bias", model.query_enc.rnn.bias_ih_l0.grad)


def test_blocks_give_the_published_numbers(golden):
    case = golden("lgi/blocks")
    blocks = {
        "nonlocal": NonLocalBlock(16, 4),
        "pool": AttentivePooling(16, 8, 12),
        "res": LocalBlocks(16, 5, 1),
    }
    for name, block in blocks.items():
        weights = {k.split(".", 1)[1]: v for k, v in case.weights.items() if k.startswith(f"{name}.")}
        block.eval().load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})
    segments, mask = torch.from_numpy(case.inputs["x"]), torch.from_numpy(case.inputs["mask"])
    with torch.no_grad():
        updated, attention = blocks["nonlocal"](segments, mask)
        pooled, weights = blocks["pool"](segments, mask)
        local = blocks["res"](segments)
    case.check("nonlocal_y", updated)
    case.check("nonlocal_attention", attention)
    case.check("pool_feature", pooled)
    case.check("pool_weights", weights)
    case.check("residual_block", local)


def test_losses_and_gradients_are_the_published_ones(golden):
    case = golden("lgi/losses")
    inputs = {name: torch.from_numpy(array) for name, array in case.inputs.items()}
    leaves = [inputs[name].requires_grad_() for name in ("loc", "temporal_attention", "query_attention")]
    spans = torch.stack([inputs["start_pos"], inputs["end_pos"]], dim=1)
    losses = {
        "regression": span_loss(leaves[0], spans),
        "tag": attention_guidance_loss(leaves[1], inputs["attention_target"]),
        "dqa_r0.3": distinct_attention_loss(leaves[2], 0.3),
    }
    for name, value in losses.items():
        case.check(name, value.detach())
    case.check("dqa_r0.2", distinct_attention_loss(leaves[2], 0.2).detach())
    gradients = torch.autograd.grad(sum(losses.values()), leaves)
    for name, value in zip(("grad_loc", "grad_attention", "grad_query_attention"), gradients, strict=True):
        case.check(name, value)


def test_default_sizes_are_the_published_ones():
    with torch.device("meta"):
        charades = LGIForVideoGrounding(LGIConfig.charades(vocab_size=60))
        activitynet = LGIForVideoGrounding(LGIConfig.activitynet_captions(vocab_size=60))
    assert sum(parameter.numel() for parameter in charades.parameters()) == 33_494_355 - 512 * 513
    # Two entries of the published files, the layer that nothing reads, are left out.
    assert (len(charades.state_dict()), len(activitynet.state_dict())) == (108 - 2, 144 - 2)


def test_nonlocal_rows_are_v_lin_and_columns_c_lin():
    block = NonLocalBlock(2, 1)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
        block.c_lin.weight[0, 0] = 1.0  # first half: what is compared with
        block.c_lin.weight[3, 1] = 1.0  # second half: what is summed
        block.v_lin.weight[0, 0] = 1.0
    segments = torch.tensor([[[1.0, 5.0], [3.0, 7.0]]])
    updated, attention = block(segments, torch.ones(1, 2))
    logits = torch.tensor([[1.0, 3.0], [3.0, 9.0]]) / 2**0.5
    expected = logits.softmax(dim=1)
    torch.testing.assert_close(attention[0, 0], expected)
    torch.testing.assert_close(updated[0, :, 1], segments[0, :, 1] + expected @ segments[0, :, 1])


def test_softmax_gives_padding_nothing_and_stays_finite_without_any_row():
    weights = masked_softmax(
        torch.tensor([[2.0, 2.0, 9.0], [1.0, 1.0, 1.0]]), torch.tensor([[1, 1, 0], [0, 0, 0]])
    )
    torch.testing.assert_close(weights, torch.tensor([[0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]]))
    assert masked_softmax(torch.zeros(1, 2, dtype=torch.float16), torch.tensor([[1, 0]])).tolist() == [
        [1.0, 0.0]
    ]


def test_phrase_copies_start_equal_and_are_not_shared():
    model = tiny_model()
    for copies in (
        model.vti_fn.fusion_fn,
        model.vti_fn.local_fn,
        model.vti_fn.global_fn,
        model.sqan.global_emb_fn,
    ):
        for other in copies[1:]:
            for (name, first), (_, second) in zip(
                copies[0].named_parameters(), other.named_parameters(), strict=True
            ):
                assert torch.equal(first, second), name
                assert first.data_ptr() != second.data_ptr()


@pytest.mark.parametrize("kwargs", [{}, {"query_input": "word_vectors"}, {"span_activation": "sigmoid"}])
def test_saved_model_gives_the_same_spans(tmp_path, kwargs):
    model = tiny_model(**kwargs)
    for module in model.modules():  # running statistics that differ from the initial ones
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    inputs = tiny_inputs(model.config)
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    loaded = LGIForVideoGrounding.from_pretrained(tmp_path)
    assert {name: getattr(loaded.config, name) for name in kwargs} == kwargs
    # The weights are equal to the bit; where they lie in memory may change the order of a sum.
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    torch.testing.assert_close(loaded(**inputs).spans, model(**inputs).spans, rtol=1e-6, atol=1e-6)


def test_longer_padding_of_queries_changes_nothing():
    model = tiny_model()
    inputs = tiny_inputs(model.config)
    longer = {**inputs, "word_ids": F.pad(inputs["word_ids"], (0, 7))}
    found, expected = model(**longer), model(**inputs)
    torch.testing.assert_close(found.spans, expected.spans)
    torch.testing.assert_close(found.query_attention[..., :6], expected.query_attention)
    assert (found.query_attention[..., 6:] == 0).all()


def test_rows_that_are_left_out_are_padded_by_the_model():
    model = tiny_model()
    inputs = {name: value[1:] for name, value in tiny_inputs(model.config).items()}
    shorter = {
        **inputs,
        "features": inputs["features"][:, :13],
        "feature_mask": inputs["feature_mask"][:, :13],
    }
    labels = {name: value[1:] for name, value in tiny_labels().items()}
    cut = {**labels, "attention_labels": labels["attention_labels"][:, :13]}
    found, expected = model(**shorter, **cut), model(**inputs, **labels)
    assert torch.equal(found.spans, expected.spans)
    assert torch.equal(found.loss, expected.loss)


def test_what_lies_in_padded_rows_has_no_weight_in_the_localisation():
    model = tiny_model()
    inputs = tiny_inputs(model.config)
    noisy = inputs["features"] + 5 * (1 - inputs["feature_mask"]).unsqueeze(2)
    assert torch.equal(model(**{**inputs, "features": noisy}).spans, model(**inputs).spans)
    attention = model(**inputs).temporal_attention
    assert (attention * (1 - inputs["feature_mask"])).abs().max() == 0


def test_a_query_gets_the_same_span_alone_and_in_a_batch():
    model = tiny_model()
    inputs = tiny_inputs(model.config)
    together = model(**inputs).spans
    for row in range(3):
        alone = model(**{name: value[row : row + 1] for name, value in inputs.items()}).spans
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=1e-5)


def test_sentence_feature_joins_the_two_ends_of_the_query():
    model = tiny_model()
    inputs = tiny_inputs(model.config)
    words, sentence, *_ = model(**inputs, output_hidden_states=True).hidden_states
    for row, length in enumerate((6, 1, 4)):
        torch.testing.assert_close(sentence[row, :8], words[row, length - 1, :8])
        torch.testing.assert_close(sentence[row, 8:], words[row, 0, 8:])
        assert (words[row, length:] == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("kwargs", [{}, {"query_input": "word_vectors", "span_activation": "sigmoid"}])
def test_gradient_reaches_every_parameter_and_agrees_with_differences(kwargs):
    model = tiny_model(seed=1, **kwargs).double()
    with torch.no_grad():
        model.ta_reg_fn.MLP_reg[2].bias += 0.3  # keeps the final ReLU open
    inputs = {
        name: value.double() if value.is_floating_point() else value
        for name, value in tiny_inputs(model.config).items()
    }
    labels = {name: value.double() for name, value in tiny_labels().items()}
    model(**inputs, **labels).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
        flat = parameter.data.view(-1)
        index = int(parameter.grad.abs().flatten().argmax())
        original, losses = flat[index].item(), []
        for change in (1e-6, -1e-6):
            flat[index] = original + change
            with torch.no_grad():
                losses.append(model(**inputs, **labels).loss.item())
        flat[index] = original
        slope = (losses[0] - losses[1]) / 2e-6
        assert abs(slope - parameter.grad.view(-1)[index].item()) < 1e-6 + 1e-3 * abs(slope), name


@pytest.mark.slow
def test_training_moves_the_span_to_the_annotation():
    model = tiny_model(span_activation="sigmoid", dropout=0.0).train()
    inputs, labels = tiny_inputs(model.config), tiny_labels()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    before = model(**inputs, **labels)
    for _ in range(40):
        optimizer.zero_grad()
        output = model(**inputs, **labels)
        output.loss.backward()
        optimizer.step()
    assert output.attention_loss < 0.8 * before.attention_loss
    assert (output.spans - labels["labels"]).abs().mean() < 0.05


def test_loss_is_the_weighted_sum_and_an_unweighted_attention_needs_no_target():
    inputs, labels = None, tiny_labels()
    model = tiny_model(attention_loss_weight=0.5, distinct_loss_weight=2.0)
    inputs = tiny_inputs(model.config)
    output = model(**inputs, **labels)
    expected = output.regression_loss + 0.5 * output.attention_loss + 2.0 * output.distinct_loss
    torch.testing.assert_close(output.loss, expected)
    with pytest.raises(ValueError, match="attention_target"):
        model(**inputs, labels=labels["labels"])
    model = tiny_model(attention_loss_weight=0.0)
    output = model(**inputs, labels=labels["labels"])
    assert output.attention_loss is None
    torch.testing.assert_close(output.loss, output.regression_loss + output.distinct_loss)


def test_tuple_output_has_the_loss_first():
    model = tiny_model()
    inputs, labels = tiny_inputs(model.config), tiny_labels()
    output = model(**inputs, **labels, output_hidden_states=True)
    assert next(iter(output)) == "loss" and list(output)[-1] == "hidden_states"
    values = model(**inputs, **labels, return_dict=False)
    assert torch.equal(values[0], output["loss"]) and len(values) == 8
    assert torch.equal(model(**inputs, return_dict=False)[0], output.spans)


def test_decoding_multiplies_by_the_duration_and_keeps_reversed_spans():
    found = decode_lgi([[0.25, 1.5], [0.9, 0.1]], [10.0, 20.0])
    np.testing.assert_allclose(found[0].segments, [[2.5, 15.0]])
    np.testing.assert_allclose(found[1].segments, [[18.0, 2.0]])
    with pytest.raises(ValueError, match="spans have shape"):
        decode_lgi([[0.25, 1.5]], [10.0, 20.0])


def test_published_checkpoint_makes_the_round_trip():
    model = tiny_model()
    published = export_lgi_checkpoint(model.state_dict())
    assert tuple(sorted(published)) == tuple(sorted(LGI_PARTS))
    assert published["vti_fn"]["satt_fn.fc.weight"].shape == (16, 16)
    back = convert_lgi_checkpoint({**published, "criterion": {}}, model.config)
    assert back.keys() == model.state_dict().keys()
    assert all(torch.equal(back[key], value) for key, value in model.state_dict().items())


def test_conversion_is_strict_on_parts_keys_and_shapes():
    model = tiny_model()
    published = export_lgi_checkpoint(model.state_dict())
    with pytest.raises(ValueError, match=r"parts \['sqan'\] are missing"):
        convert_lgi_checkpoint(
            {part: value for part, value in published.items() if part != "sqan"}, model.config
        )
    lacking = copy.copy(published)
    lacking["vti_fn"] = {key: value for key, value in published["vti_fn"].items() if key != "satt_fn.fc.bias"}
    with pytest.raises(ValueError, match=r"1 missing \(vti_fn.satt_fn.fc.bias\)"):
        convert_lgi_checkpoint(lacking, model.config)
    with pytest.raises(ValueError, match=r"query_enc.embedding.weight is \(30, 10\)"):
        convert_lgi_checkpoint(published, tiny_config(vocab_size=31))


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("query_input", "text", "word_ids, word_vectors"),
        ("span_activation", "tanh", "relu, sigmoid"),
        ("num_heads", 3, "multiple of num_heads=3"),
        ("local_kernel_size", 4, "must be odd"),
        ("dropout", 1.0, "dropout=1.0"),
        ("num_phrases", 0, "num_phrases=0"),
    ],
)
def test_config_refuses_what_cannot_work(field, value, match):
    with pytest.raises(Exception, match=match):
        tiny_config(**{field: value})


def test_wrong_inputs_are_named():
    model = tiny_model()
    inputs = tiny_inputs(model.config)
    with pytest.raises(ValueError, match="make_lgi_sample"):
        model(**{**inputs, "features": torch.zeros(3, 21, 12), "feature_mask": None})
    with pytest.raises(ValueError, match="word_ids is missing, expected with the shape"):
        model(features=inputs["features"])
    with pytest.raises(ValueError, match=r"queries \[1\] of the batch hold no word"):
        model(**{**inputs, "word_ids": inputs["word_ids"] * torch.tensor([[1], [0], [1]])})
    with pytest.raises(ValueError, match=r"attention_labels has the shape \(3, 21\)"):
        model(**inputs, **{**tiny_labels(), "attention_labels": torch.ones(3, 21)})
    with pytest.raises(ValueError, match=r"word_vectors .* expected \(3, num_words, 10\)"):
        vectors = tiny_model(query_input="word_vectors")
        vectors(features=inputs["features"], word_vectors=torch.zeros(3, 4, 9))
    with pytest.raises(ValueError, match="feature_mask has the shape"):
        model(**{**inputs, "feature_mask": torch.ones(3, 4)})
