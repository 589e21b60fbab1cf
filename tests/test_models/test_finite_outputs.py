"""Numbers that are none, in losses and in what the heads give."""

import math

import pytest
import torch

from detnas_mm.models.finite_outputs import require_finite

FINE = torch.tensor([3.0, -4.0])


@pytest.mark.parametrize(
    'outputs',
    [
        {},
        None,
        [],
        torch.zeros(0),
        dict(loss=FINE, loss_list=[FINE, FINE], acc=torch.tensor(math.nan)),
        ([FINE, FINE], [FINE.half()]),
        # As many large numbers have no sum.
        [torch.full((9,), 6e4, dtype=torch.half)],
    ],
)
def test_numbers_pass(outputs):
    require_finite(outputs)


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('dtype', [torch.float, torch.bfloat16])
def test_one_value_is_enough(value, dtype):
    wrong = torch.zeros(2, 3, 4, dtype=dtype)
    wrong[1, 2, 3] = value
    with pytest.raises(ValueError, match=f'loss_bbox is {value} on the image'):
        require_finite(dict(loss_cls=FINE, loss_bbox=[FINE, wrong]))
    with pytest.raises(ValueError, match=f'of the heads is {value} on'):
        require_finite(([FINE], [FINE, wrong]))
