"""Models are built without a Runner, and leave their configs as they are."""

import pytest
from kit.digits_runs import CONFIGS
from mmengine.config import Config

from detnas_mm.compat import setup_compat
from detnas_mm.models import build_model


@pytest.mark.parametrize('detector', ['retinanet', 'faster-rcnn'])
def test_the_config_stays_as_it_is(detector):
    """It defines a search: a changed one would be another search."""
    setup_compat()
    file = f'digits/{detector}_detnas-search-tiny_fpn_digits.py'
    config = Config.fromfile(CONFIGS / file)
    before = config.to_dict()
    build_model(config)
    assert config.to_dict() == before
