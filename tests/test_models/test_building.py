"""Models are built without a Runner."""

import pytest
from kit.detectors import DETECTORS
from mmengine.config import Config

from detnas_mm.models import build_model


@pytest.mark.parametrize('kind', DETECTORS)
def test_the_config_stays_as_it_is(kind):
    """It defines a search: a changed one would be another search."""
    config = Config(dict(model=DETECTORS[kind]()))
    before = config.to_dict()
    build_model(config)
    assert config.to_dict() == before
