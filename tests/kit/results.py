"""Files that a search leaves, without a search."""

from mmengine.config import Config

from detnas_mm import SEARCH_SPACES
from detnas_mm.engine.search.results import SearchResults
from detnas_mm.engine.search.settings import SearchSettings
from detnas_mm.structures.config_text import SupernetSettings

from .digits_runs import ROOT
from .records import candidate

# A search of the paper, by its config.
PAPER = 'detnas/faster-rcnn_detnas-search-small_fpn_1x_coco'


def results_of(folder, config=None, space=SEARCH_SPACES['tiny'], **settings):
    """What writes the results of a search with a config into a folder."""
    supernet = SupernetSettings.from_config(space, 'grouped', config)
    settings = SearchSettings(metric='coco/bbox_mAP', **settings)
    return SearchResults(work_dir=folder, supernet=supernet, settings=settings)


def config_of(name):
    """A config of the project as plain data."""
    return Config.fromfile(ROOT / 'configs' / f'{name}.py').to_dict()


def write_best(folder, path='0123012301', **fields):
    """Writes the results of a search of the paper's; returns the fragment."""
    results = results_of(folder, config_of(PAPER))
    results.write_best(candidate(0, path=path, **fields))
    return folder / 'best_backbone.py'
