"""The linear actionness classifier and the features it reads."""

import numpy as np
import pytest
import torch

from bsp_hf.localization.actionness.configuration_actionness import ActionnessConfig
from bsp_hf.localization.actionness.modeling_actionness import ActionnessModel, features_of_segments
from bsp_hf.metrics.actionness import StepAnnotation, label_segments


def small_model(**kwargs) -> ActionnessModel:
    model = ActionnessModel(ActionnessConfig(feature_dim=3, **kwargs)).eval()
    with torch.no_grad():
        model.classifier.weight.copy_(torch.tensor([[1.0, -2.0, 0.5]]))
        model.classifier.bias.fill_(0.25)
    return model


def test_logits_are_linear_in_the_features():
    features = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 2.0]]])
    output = small_model()(features=features)
    torch.testing.assert_close(output.logits, torch.tensor([[1.25, -0.75]]))
    torch.testing.assert_close(output.probabilities, output.logits.sigmoid())


def test_normalised_features_have_length_one():
    features = torch.tensor([[[3.0, 4.0, 0.0]]])
    logits = small_model(normalize=True)(features=features).logits
    torch.testing.assert_close(logits, torch.tensor([[0.6 - 1.6 + 0.25]]))


def test_loss_is_the_mean_over_real_segments():
    model = small_model(positive_weight=3.0)
    features, labels = torch.randn(2, 4, 3), torch.tensor([[1, 0, 1, 0], [0, 1, 1, 1]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    output = model(features=features, labels=labels, segment_mask=mask)
    p = output.logits.sigmoid()
    each = -(3.0 * labels * p.log() + (1 - labels) * (1 - p).log())
    torch.testing.assert_close(output.loss, (each * mask).sum() / 6)
    assert (output.probabilities[1, 2:] == 0).all()
    longer = model(features=features[1:, :2], labels=labels[1:, :2])
    single = model(features=features[1:], labels=labels[1:], segment_mask=mask[1:])
    torch.testing.assert_close(longer.loss, single.loss)


def test_fresh_classifier_is_undecided_and_learns_a_linear_rule():
    torch.manual_seed(0)
    model = ActionnessModel(ActionnessConfig(feature_dim=5))
    features = torch.randn(4, 50, 5)
    labels = (features[..., 1] - features[..., 3] > 0).long()
    assert (model(features=features).probabilities == 0.5).all()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        model(features=features, labels=labels).loss.backward()
        optimizer.step()
    assert ((model(features=features).probabilities > 0.5) == labels).float().mean() > 0.97


def test_gradient_agrees_with_differences():
    model = small_model().double()
    features, labels = torch.randn(1, 6, 3, dtype=torch.float64), torch.randint(0, 2, (1, 6))

    def loss(weight, bias):
        parameters = {"classifier.weight": weight, "classifier.bias": bias}
        arguments = {"features": features, "labels": labels}
        return torch.func.functional_call(model, parameters, (), arguments).loss

    assert torch.autograd.gradcheck(loss, (model.classifier.weight, model.classifier.bias))


def test_saved_model_gives_the_same_scores(tmp_path):
    model = small_model(segment_s=0.5)
    model.save_pretrained(tmp_path)
    loaded = ActionnessModel.from_pretrained(tmp_path)
    features = torch.randn(2, 4, 3)
    assert loaded.config.segment_s == 0.5
    assert torch.equal(loaded(features=features).logits, model(features=features).logits)


def test_each_segment_gets_the_snippet_nearest_to_its_middle():
    features, centers_s = np.arange(3, dtype=np.float32)[:, None], [0.1, 0.5, 0.9]
    # Middles 0.1, 0.3, 0.5, 0.7, 0.9; of two equally near snippets the earlier one counts.
    centers_exact = [0.125, 0.625, 1.125]
    found = features_of_segments(features, centers_s, duration_s=1.0)
    assert found[[0, 2, 4], 0].tolist() == [0, 1, 2]
    assert features_of_segments(features, centers_exact, 1.25, segment_s=0.25)[:, 0].tolist() == [
        0,
        0,
        1,
        1,
        2,
    ]


def test_features_and_labels_of_a_video_have_the_same_length():
    rng = np.random.default_rng(0)
    durations = [0.05, 0.2, 0.6, 0.2 * 3, 1.0, 30.04, *rng.uniform(0.1, 100, 50), *(0.2 * np.arange(1, 60))]
    for duration_s in durations:
        labels = label_segments(StepAnnotation(duration_s=float(duration_s), steps_s=[]))
        assert len(features_of_segments(np.ones((2, 1)), [0.0, 1.0], float(duration_s))) == len(labels)


@pytest.mark.parametrize(
    ("features", "centers_s", "match"),
    [
        (np.zeros((2, 3)), [0.1], "centers_s"),
        (np.zeros((0, 3)), [], "at least one snippet"),
        (np.zeros((2, 3)), [0.5, 0.1], "must ascend"),
    ],
)
def test_wrong_snippets_are_refused(features, centers_s, match):
    with pytest.raises(ValueError, match=match):
        features_of_segments(features, centers_s, 3.0)


def test_wrong_inputs_are_named():
    model = small_model()
    with pytest.raises(ValueError, match="feature_dim"):
        model(features=torch.zeros(1, 4, 5))
    with pytest.raises(ValueError, match="labels has the shape"):
        model(features=torch.zeros(1, 4, 3), labels=torch.zeros(1, 3))
    with pytest.raises(ValueError, match="every segment"):
        model(features=torch.zeros(1, 4, 3), labels=torch.zeros(1, 4), segment_mask=torch.zeros(1, 4))
    with pytest.raises(Exception, match="segment_s=0"):
        ActionnessConfig(segment_s=0.0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.02), (torch.float16, 0.002)])
@pytest.mark.parametrize("normalize", [False, True])
def test_half_precision_is_close_and_finite(dtype, tolerance, normalize):
    model = small_model(normalize=normalize)
    features = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    features[1, 3:] = 0  # padding
    labels = torch.tensor([[1, 0, 1, 0, 0], [0, 1, 1, 1, 0]])
    expected = model(features=features, labels=labels)
    found = model.to(dtype)(features=features, labels=labels)
    assert found.probabilities.dtype == dtype
    torch.testing.assert_close(found.probabilities.float(), expected.probabilities, atol=tolerance, rtol=0)
    assert found.loss.item() == pytest.approx(expected.loss.item(), rel=tolerance)


def test_hidden_states_are_the_rows_that_the_linear_layer_reads():
    features = torch.tensor([[[3.0, 4.0, 0.0], [0.0, 0.0, 2.0]]])
    model = small_model(normalize=True)
    assert model(features=features).hidden_states is None
    output = model(features=features, output_hidden_states=True)
    (rows,) = output.hidden_states
    torch.testing.assert_close(rows, torch.tensor([[[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]]]))
    assert torch.equal(model.classifier(rows).squeeze(2), output.logits)
    by_config = small_model(normalize=True, output_hidden_states=True)(features=features, return_dict=False)
    assert torch.equal(by_config[-1][0], rows)
