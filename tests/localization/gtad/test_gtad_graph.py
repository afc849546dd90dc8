"""Nearest steps, edge features and the graph block against golden vectors and a plain computation."""

import pytest
import torch
from support.subgraphs import edge_features

from bsp_hf.localization.gtad.modeling_gtad import GCNeXtBlock, nearest_steps


def test_neighbours_and_edges_match_the_reference(golden):
    case = golden("gtad/knn_graph")
    x, y = (torch.from_numpy(case.inputs[name]) for name in "xy")
    neighbors = nearest_steps(x, 3)
    case.check("knn_idx", neighbors)
    case.check("knn_idx_cross", nearest_steps(x, 3, queries=y))
    for style in range(3):
        case.check(f"feature_style{style}", edge_features(x, neighbors, style))


def test_block_matches_the_reference(golden):
    case = golden("gtad/gcnext_block")
    block = GCNeXtBlock(64)
    block.load_state_dict({key: torch.from_numpy(value) for key, value in case.weights.items()})
    x = torch.from_numpy(case.inputs["x"])
    case.check("y", block(x, nearest_steps(x, 3)).detach())


def test_block_equals_convolving_every_edge():
    torch.manual_seed(0)
    block = GCNeXtBlock(6, num_groups=2, group_width=3).double()
    x = torch.randn(2, 6, 9, dtype=torch.float64, requires_grad=True)
    neighbors = nearest_steps(x, 3)
    plain = torch.relu(block.tconvs(x) + x + block.sconvs(edge_features(x, neighbors, 1)).amax(3))
    fast = block(x, neighbors)
    torch.testing.assert_close(fast, plain)
    inputs = [x, *block.parameters()]
    upstream = torch.randn_like(plain)
    for a, b in zip(
        torch.autograd.grad(fast, inputs, upstream), torch.autograd.grad(plain, inputs, upstream), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_neighbours_are_those_of_smallest_distance_and_carry_no_gradient():
    x = torch.tensor([[[0.0, 10.0, 1.0, 11.0, 3.0]]], requires_grad=True)
    neighbors = nearest_steps(x, 2)
    assert neighbors.tolist() == [[[0, 2], [1, 3], [2, 0], [3, 1], [4, 2]]]
    assert not neighbors.is_floating_point() and not neighbors.requires_grad


def test_autocast_does_not_blur_the_neighbours():
    x = torch.randn(1, 32, 50) + 100
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = nearest_steps(x, 3)
    assert torch.equal(low, nearest_steps(x, 3))


def test_unknown_edge_style_is_named():
    with pytest.raises(ValueError, match="style=3"):
        edge_features(torch.zeros(1, 2, 4), torch.zeros(1, 4, 2, dtype=torch.int64), 3)
