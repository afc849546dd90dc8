"""`torch.compile` of every model: as a graph that runs as it is, and as code that inductor makes of it.

Each test leaves the largest difference that it saw in the report; `benchmarks/model_properties.py` makes a
table of them.
"""

import pytest
import torch
from support.differences import gradient_differences, largest_difference
from support.every_model import EVERY_MODEL, loss_of
from torch._dynamo.exc import BackendCompilerFailed
from torch._dynamo.utils import counters

pytestmark = pytest.mark.slow
every_model = pytest.mark.parametrize("name", EVERY_MODEL)


def compile_and_compare(name: str, backend: str, batches: tuple[int, ...]) -> float:
    """Train a compiled and a plain model; return the largest difference of an output or a gradient."""
    torch.compiler.reset()
    counters.clear()
    kind = EVERY_MODEL[name]
    plain, compiled = kind.build().train(), kind.build().train()
    run = torch.compile(compiled, fullgraph=True, backend=backend)
    differences = {}
    for batch in batches:
        plain.zero_grad(), compiled.zero_grad()
        expected, actual = plain(**kind.inputs(batch)), run(**kind.inputs(batch))
        loss_of(expected).backward(), loss_of(actual).backward()
        assert actual.keys() == expected.keys()
        for part in expected:
            differences[batch, part] = largest_difference(actual[part].detach(), expected[part].detach())
        for part, difference in gradient_differences(compiled, plain).items():
            differences[batch, f"gradient of {part}"] = difference
    for (part, expected), actual in zip(plain.named_buffers(), compiled.buffers(), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5, msg=part)
    worst = max(differences, key=differences.get)
    assert differences[worst] < 1e-3, worst
    return differences[worst]


@every_model
def test_compiled_model_trains_alike_with_one_graph_for_all_batches_but_the_first(name, record_property):
    record_property("model", name)
    record_property("difference", compile_and_compare(name, "aot_eager", (2, 3, 5)))
    assert counters["stats"]["unique_graphs"] == 2


@pytest.fixture(scope="module")
def inductor() -> str:
    """The name of the backend; without a compiler of C++ and Python's headers it makes no code for a CPU."""
    try:
        torch.compile(torch.sin, backend="inductor")(torch.ones(3))
    except BackendCompilerFailed as error:
        pytest.skip(f"inductor cannot compile here: {error}")
    return "inductor"


@every_model
def test_inductor_makes_code_of_it_that_trains_alike(name, inductor, record_property):
    record_property("model", name)
    record_property("difference", compile_and_compare(name, inductor, (2,)))
