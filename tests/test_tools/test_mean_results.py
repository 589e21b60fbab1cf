"""Mean and standard deviation of some nets' test results."""

import json

import pytest
from kit.command_lines import run_here

TOOL = 'analysis_tools/mean_results.py'


@pytest.fixture
def tested(tmp_path):
    """Writes the results of tests as tools/test.py leaves them."""

    def write(**nets):
        for name, result in nets.items():
            log = tmp_path / name / '20260101_000000'
            log.mkdir(parents=True)
            content = json.dumps({'coco/bbox_mAP': result})
            (log / f'{log.name}.json').write_text(content)
        return [tmp_path / name for name in nets]

    return write


def test_mean_and_deviation(tested):
    """Of 0.35, 0.36 and 0.40: deviations -0.02, -0.01 and 0.03."""
    nets = tested(a=0.35, b=0.36, c=0.40)
    *nets, last = run_here(TOOL, 'coco/bbox_mAP', *nets).splitlines()
    assert nets == ['0.3500  a', '0.3600  b', '0.4000  c']
    # The square root of 0.0014 / 2.
    assert 'of 3 nets: 0.3700 ± 0.0265' in last


@pytest.mark.parametrize(
    ('metric', 'nets', 'named'),
    [
        ('coco/bbox_mAP', dict(a=0.3), 'at least 2 nets, got 1'),
        ('coco/mAP', dict(a=0.3, b=0.4), "no 'coco/mAP', but coco/bbox_mAP"),
    ],
)
def test_refuses(tested, capsys, metric, nets, named):
    with pytest.raises(SystemExit):
        run_here(TOOL, metric, *tested(**nets))
    assert named in capsys.readouterr().err
