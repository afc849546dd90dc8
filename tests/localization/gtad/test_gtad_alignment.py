"""Alignment and its fusion with the 1x1 convolution: golden vectors, a brute force, gradients, precisions."""

import math

import numpy as np
import pytest
import torch
from support.subgraphs import align1d

from bsp_hf.localization.gtad.alignment import AlignmentGeometry, sampling_entries
from bsp_hf.localization.gtad.anchor_projection import anchor_operator, project_anchors

SMALL = AlignmentGeometry(num_steps=7, max_duration=5, num_inner_bins=3, num_context_bins=2)


def brute_align(x, regions, num_bins, ratio):
    """The sampling rule of Align1D, one sample at a time; x is (batch, channels, length)."""
    _, channels, length = x.shape
    out = np.zeros((len(regions), channels, num_bins))
    for r, (owner, start, end) in enumerate(regions):
        size = max(end - start, 1)
        count = ratio if ratio > 0 else math.ceil(size / num_bins)
        for p in range(num_bins):
            for q in range(count):
                t = start + p * size / num_bins + (q + 0.5) * size / num_bins / count
                if t < -1 or t > length:
                    continue
                t = max(t, 0)
                low = math.floor(t)
                if low >= length - 1:
                    value = x[int(owner), :, length - 1]
                else:
                    value = (1 - t + low) * x[int(owner), :, low] + (t - low) * x[int(owner), :, low + 1]
                out[r, :, p] += value / count
    return out


def brute_map(inner, context, weight, bias, geometry):
    """Align every cell of the map on its own, then convolve: (batch, out, max_duration, num_steps)."""
    batch, _, steps = inner.shape
    regions = []
    for b in range(batch):
        for i in range(steps):
            for j in range(geometry.max_duration):
                margin = geometry.expansion_ratio * (j + 1)
                regions.append([b, i - margin, i + j + margin] if i + j < steps else [b, 0, 0])
    bins = [brute_align(inner, regions, geometry.num_inner_bins, geometry.inner_sampling_ratio)]
    if geometry.num_context_bins:
        ratio = geometry.context_sampling_ratio
        bins.append(brute_align(context, regions, geometry.num_context_bins, ratio))
    rows = np.concatenate(bins, axis=2).reshape(batch, steps, geometry.max_duration, -1)
    return np.einsum("bijk,ok->boji", rows, weight) + bias[:, None, None]


def draw(geometry, batch=2, channels=4, out=6, dtype=torch.float64):
    g = torch.Generator().manual_seed(3)
    shape = (batch, channels, geometry.num_steps)
    inner = torch.randn(shape, generator=g, dtype=dtype)
    context = torch.randn(shape, generator=g, dtype=dtype) if geometry.num_context_bins else None
    weight = torch.randn(out, channels * geometry.num_bins, generator=g, dtype=dtype)
    bias = torch.randn(out, generator=g, dtype=dtype)
    return [inner, context, weight, bias]


def to_map(rows, geometry):
    return rows.transpose(1, 2)[:, :, torch.from_numpy(geometry.map_index())]


class TestAlign1d:
    def test_reproduces_the_reference_forward_and_backward(self, golden):
        case = golden("gtad/align1d")
        for n, setting in enumerate(case.meta["config"]["cases"]):
            x = torch.from_numpy(case.inputs[f"x{n}"]).requires_grad_()
            y = align1d(x, case.inputs[f"rois{n}"], setting["resolution"], setting["sampling_ratio"])
            case.check(f"y{n}", y.detach())
            y.backward(torch.from_numpy(case.inputs[f"grad_y{n}"]))
            case.check(f"grad_x{n}", x.grad)

    @pytest.mark.parametrize("ratio", [0, 1, 3])
    def test_matches_brute_force_inside_across_and_outside_the_ends(self, ratio):
        rng = np.random.default_rng(ratio)
        x = rng.standard_normal((3, 2, 9))
        start = rng.integers(-20, 40, 40) / 4
        regions = np.stack([rng.integers(0, 3, 40), start, start + rng.integers(-4, 60, 40) / 4], axis=1)
        got = align1d(torch.from_numpy(x), regions, 4, ratio)
        np.testing.assert_allclose(got, brute_align(x, regions, 4, ratio), atol=1e-12)

    def test_step_axis_of_one_reads_its_only_feature(self):
        x = torch.tensor([[[2.0]]], dtype=torch.float64)
        regions = [[0, -0.5, 0.5], [0, 1.5, 2.5]]
        np.testing.assert_allclose(align1d(x, regions, 2), brute_align(x.numpy(), regions, 2, 0))

    def test_no_regions_give_no_rows(self):
        assert align1d(torch.zeros(1, 2, 5), np.zeros((0, 3)), 4).shape == (0, 2, 4)

    def test_gradient_is_exact(self):
        x = torch.randn(2, 2, 5, dtype=torch.float64, requires_grad=True)
        regions = [[0, -1.5, 3.25], [1, 2, 9], [1, 1, 1.5]]
        assert torch.autograd.gradcheck(lambda x: align1d(x, regions, 3), (x,))

    @pytest.mark.parametrize(
        ("x", "regions", "message"),
        [
            (torch.zeros(2, 5), [[0, 0, 1]], "batch, channels, length"),
            (torch.zeros(1, 2, 5), [[0, 1]], "batch index, start, end"),
            (torch.zeros(1, 2, 5), [[1, 0, 1]], "name batch entries 1 to 1"),
            (torch.zeros(1, 2, 5), [[0, 0, float("nan")]], "finite"),
        ],
    )
    def test_bad_input_is_named(self, x, regions, message):
        with pytest.raises(ValueError, match=message):
            align1d(x, regions, 2)

    def test_entries_are_sorted_unique_and_sum_to_one_inside(self):
        rows, steps, weights = sampling_entries(np.array([0.5, 3.0]), np.array([4.0, 8.5]), 3, 0, 10)
        keys = rows * 10 + steps
        assert (np.diff(keys) > 0).all()
        np.testing.assert_allclose(np.bincount(rows, weights), np.ones(6))


class TestProjectAnchors:
    @pytest.mark.parametrize(
        "geometry",
        [
            SMALL,
            AlignmentGeometry(9, 9, 4, 0, inner_sampling_ratio=1),
            AlignmentGeometry(12, 4, 2, 2, context_sampling_ratio=3, expansion_ratio=0.25),
            AlignmentGeometry(6, 6, 5, 3),
            AlignmentGeometry(1, 1, 2, 1),
        ],
    )
    def test_equals_aligning_first(self, geometry):
        arrays = draw(geometry)
        expected = brute_map(*[None if a is None else a.numpy() for a in arrays], geometry)
        np.testing.assert_allclose(to_map(project_anchors(*arrays, geometry), geometry), expected, atol=1e-12)

    def test_channels_beyond_one_chunk_are_computed_alike(self):
        arrays = draw(SMALL, out=150)
        expected = brute_map(*[a.numpy() for a in arrays], SMALL)
        np.testing.assert_allclose(to_map(project_anchors(*arrays, SMALL), SMALL), expected, atol=1e-12)

    def test_gradients_of_all_four_tensors_are_exact(self):
        arrays = [a.requires_grad_() for a in draw(SMALL, channels=2, out=3)]
        assert torch.autograd.gradcheck(lambda *a: project_anchors(*a, SMALL), arrays)

    def test_gradients_are_exact_without_context(self):
        geometry = AlignmentGeometry(5, 4, 3, 0)
        inner, _, weight, bias = draw(geometry, channels=2, out=3)
        arrays = [a.requires_grad_() for a in (inner, weight, bias)]
        assert torch.autograd.gradcheck(lambda x, w, b: project_anchors(x, None, w, b, geometry), arrays)

    def test_gradients_equal_those_of_aligning_first(self):
        arrays = [a.requires_grad_() for a in draw(SMALL, out=130)]
        inner, context, weight, bias = arrays
        upstream = torch.randn(2, 130, 5, 7, dtype=torch.float64)
        fast = torch.autograd.grad((to_map(project_anchors(*arrays, SMALL), SMALL) * upstream).sum(), arrays)
        regions = [
            [b, i - (j + 1) / 2, i + j + (j + 1) / 2] if i + j < 7 else [b, 0, 0]
            for b in range(2)
            for j in range(5)
            for i in range(7)
        ]
        bins = torch.cat([align1d(inner, regions, 3), align1d(context, regions, 2)], dim=2)
        maps = (bins.flatten(1) @ weight.t() + bias).view(2, 5, 7, 130).permute(0, 3, 1, 2)
        slow = torch.autograd.grad((maps * upstream).sum(), arrays)
        for a, b in zip(fast, slow, strict=True):
            torch.testing.assert_close(a, b)

    def test_relu_equals_clipping_afterwards_with_its_gradient(self):
        arrays = [a.requires_grad_() for a in draw(SMALL, out=70)]
        clipped, plain = project_anchors(*arrays, SMALL, relu=True), project_anchors(*arrays, SMALL).relu()
        assert torch.equal(clipped, plain)
        upstream = torch.randn_like(plain)
        fast, slow = (torch.autograd.grad(rows, arrays, upstream) for rows in (clipped, plain))
        for a, b in zip(fast, slow, strict=True):
            torch.testing.assert_close(a, b)

    def test_float32_stays_close_to_float64(self):
        arrays = draw(SMALL)
        exact = project_anchors(*arrays, SMALL)
        single = project_anchors(*[a.float() for a in arrays], SMALL)
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("autocast", [True, False])
    def test_bfloat16_runs_forward_and_backward(self, autocast):
        arrays = draw(SMALL, dtype=torch.float32)
        exact = project_anchors(*arrays, SMALL)
        leaves = [(a if autocast else a.bfloat16()).detach().requires_grad_() for a in arrays]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            low = project_anchors(*leaves, SMALL)
            low.sum().backward()
        assert low.dtype == torch.bfloat16
        assert all(leaf.grad.dtype == leaf.dtype for leaf in leaves)
        assert (low.float() - exact).norm() < 0.02 * exact.norm()

    def test_samples_do_not_touch_one_another(self):
        inner, context, weight, bias = draw(SMALL, batch=3)
        together = project_anchors(inner, context, weight, bias, SMALL)
        alone = project_anchors(inner[1:2], context[1:2], weight, bias, SMALL)
        assert torch.equal(together[1:2], alone)

    def test_late_anchors_share_one_row(self):
        index = SMALL.map_index()
        starts, durations = SMALL.anchors()
        assert index.max() == len(starts) == 7 + 6 + 5 + 4 + 3
        for j in range(5):
            for i in range(7):
                if i + j < 7:
                    assert (starts[index[j, i]], durations[index[j, i]]) == (i, j)
                else:
                    assert index[j, i] == len(starts)

    def test_operator_is_built_once(self):
        first = anchor_operator(SMALL, torch.float32, "cpu")
        assert anchor_operator(AlignmentGeometry(7, 5, 3, 2), torch.float32, "cpu") is first

    @pytest.mark.parametrize("change", ["steps", "context", "missing context", "weight"])
    def test_shapes_that_do_not_fit_are_named(self, change):
        inner, context, weight, bias = draw(SMALL)
        if change == "steps":
            inner = inner[:, :, :-1]
        elif change == "context":
            context = context[:, :1]
        elif change == "missing context":
            context = None
        else:
            weight = weight[:, :-1]
        with pytest.raises(ValueError, match=change.split()[-1]):
            project_anchors(inner, context, weight, bias, SMALL)


@pytest.mark.gpu
def test_gpu_equals_cpu():
    arrays = draw(SMALL, dtype=torch.float32, out=130)
    leaves = [a.cuda().requires_grad_() for a in arrays]
    rows = project_anchors(*leaves, SMALL)
    torch.testing.assert_close(rows.cpu(), project_anchors(*arrays, SMALL), rtol=1e-4, atol=1e-4)
    rows.sum().backward()
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert project_anchors(*leaves, SMALL).dtype == torch.bfloat16
