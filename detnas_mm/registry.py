"""Registries of detnas_mm: children of MMEngine's.

MMEngine imports this module when it meets the scope ``detnas_mm`` in a
config, then the ``locations`` of the registry in question. So
``type='detnas_mm.DetNASNet'`` works in any config without further settings.
"""

from detnas_mm.compat import setup_compat

# Before the first import of MMEngine, so that an unfit installation gives
# an error of one line.
setup_compat()

from mmengine.registry import HOOKS as MMENGINE_HOOKS  # noqa: E402
from mmengine.registry import LOOPS as MMENGINE_LOOPS  # noqa: E402
from mmengine.registry import METRICS as MMENGINE_METRICS  # noqa: E402
from mmengine.registry import MODELS as MMENGINE_MODELS  # noqa: E402
from mmengine.registry import (  # noqa: E402
    OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
)
from mmengine.registry import (  # noqa: E402
    WEIGHT_INITIALIZERS as MMENGINE_WEIGHT_INITIALIZERS,
)
from mmengine.registry import Registry  # noqa: E402

MODELS = Registry(
    'model',
    parent=MMENGINE_MODELS,
    scope='detnas_mm',
    locations=['detnas_mm.models'],
)
WEIGHT_INITIALIZERS = Registry(
    'weight initializer',
    parent=MMENGINE_WEIGHT_INITIALIZERS,
    scope='detnas_mm',
    locations=['detnas_mm.models'],
)
HOOKS = Registry(
    'hook',
    parent=MMENGINE_HOOKS,
    scope='detnas_mm',
    locations=['detnas_mm.engine'],
)
LOOPS = Registry(
    'loop',
    parent=MMENGINE_LOOPS,
    scope='detnas_mm',
    locations=['detnas_mm.engine'],
)
METRICS = Registry(
    'metric',
    parent=MMENGINE_METRICS,
    scope='detnas_mm',
    locations=[
        'detnas_mm.evaluation.coco_metric',
        'detnas_mm.evaluation.voc_metric',
    ],
)
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
    scope='detnas_mm',
    locations=['detnas_mm.engine'],
)
# Choice blocks of a search space: callables with the parameters
# ``in_channels``, ``out_channels``, ``stride``, ``shuffle`` and ``norm_cfg``.
CHOICE_BLOCKS = Registry(
    'choice block', scope='detnas_mm', locations=['detnas_mm.models']
)
# Search algorithms: ask for paths and are told their fitness.
ALGORITHMS = Registry(
    'search algorithm',
    scope='detnas_mm',
    locations=['detnas_mm.engine.search.settings'],
)
# Executors: paths in, results out.
EXECUTORS = Registry(
    'executor',
    scope='detnas_mm',
    locations=['detnas_mm.engine.search.executors'],
)
