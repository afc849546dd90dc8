"""A training stops at the first number that is not finite, and names the step and the samples."""

import math

import pytest
import torch

from bsp_hf.training.finite import NotFiniteError, check_finite


def test_finite_numbers_pass_and_names_are_not_looked_up():
    check_finite(torch.tensor([1.0, -2.0]), "the loss", 3, lambda: pytest.fail("looked up"))
    check_finite(0.5, "eval_loss", 3)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_others_stop_with_step_and_samples(value):
    with pytest.raises(NotFiniteError, match=rf"the loss is {value} at step 7, of a\.mp4 and b\.mp4\. "):
        check_finite(torch.tensor([1.0, value]), "the loss", 7, lambda: ["a.mp4", "b.mp4"])
    with pytest.raises(NotFiniteError, match=rf"eval_loss is {value} at step 7\. .*--learning_rate"):
        check_finite(value, "eval_loss", 7)


def test_of_many_samples_the_first_are_named():
    names = [f"{number}.mp4" for number in range(40)]
    with pytest.raises(NotFiniteError, match=r"of 0\.mp4, 1\.mp4, 2\.mp4, 3\.mp4 and 36 more\. "):
        check_finite(math.nan, "the loss", 1, lambda: names)
