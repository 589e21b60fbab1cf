"""The benchmark of a candidate runs without data, at any size."""

import json

import pytest
from kit.command_lines import run_here
from kit.digits_runs import CONFIGS


def test_the_parts_of_a_candidate_make_up_the_whole():
    output = run_here(
        'benchmarks/candidate_evaluation.py',
        CONFIGS / 'digits/retinanet_detnas-search-tiny_fpn_digits.py',
        *('--random', 20, '--shape', 64, 64, '--device', 'cpu'),
        *('--rounds', 1, '--spread', 100),
    )
    result = json.loads(output.splitlines()[-1])
    assert (result['images_for_bn'], result['images_for_score']) == (2, 20)
    ms = {row['part']: row['ms']['median'] for row in result['rows']}
    whole, ratio = ms.pop('whole candidate'), ms.pop('whole / network')
    network = ms.pop('network alone')
    assert ms['network: backbone'] > 0
    assert ms['metric'] > 0
    assert sum(ms.values()) == pytest.approx(whole)
    assert ratio == pytest.approx(whole / network)
