"""A step of a supernet does what a step of one of its subnets does."""

import json

from kit.command_lines import run_here
from kit.digits_runs import CONFIGS


def test_a_step_does_nothing_for_choices_that_are_not_taken():
    output = run_here(
        'benchmarks/training_step.py',
        CONFIGS / 'digits/retinanet_detnas-supernet-tiny_fpn_digits.py',
        *('--shape', 64, 64, '--rounds', 1, '--device', 'cpu'),
        *('--choices', 4, 16),
    )
    subnet, four, sixteen = json.loads(output.splitlines()[-1])['rows']
    for supernet in (four, sixteen):
        for work in ('tensor operators', 'values they are given, M'):
            assert supernet[work] == subnet[work] > 10
    # MMEngine's clipping asks each parameter whether it has a gradient.
    assert four['Python calls'] < 1.1 * subnet['Python calls']
    # Not because the supernets were the same.
    memory = 'weights, gradients and state, MB'
    assert subnet[memory] < four[memory] < sixteen[memory]
