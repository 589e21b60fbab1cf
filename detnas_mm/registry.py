"""Registries of detnas_mm: children of MMEngine's.

MMEngine imports this module when it meets the scope ``detnas_mm`` in a
config, then the ``locations`` of the registry in question. So
``type='detnas_mm.DetNASNet'`` works in any config without further settings.
"""

from detnas_mm.compat import setup_compat

# Before the first import of MMEngine, so that an unfit installation gives
# an error of one line.
setup_compat()

from mmengine import registry as mmengine  # noqa: E402
from mmengine.registry import Registry  # noqa: E402


def _registry(name: str, parent: Registry | None, *rooms: str) -> Registry:
    """Returns a registry whose classes are defined in some rooms."""
    locations = [f'detnas_mm.{room}' for room in rooms]
    return Registry(
        name, parent=parent, scope='detnas_mm', locations=locations
    )


MODELS = _registry('model', mmengine.MODELS, 'models')
WEIGHT_INITIALIZERS = _registry(
    'weight initializer', mmengine.WEIGHT_INITIALIZERS, 'models'
)
HOOKS = _registry('hook', mmengine.HOOKS, 'engine')
LOOPS = _registry('loop', mmengine.LOOPS, 'engine')
METRICS = _registry(
    'metric',
    mmengine.METRICS,
    'evaluation.coco_metric',
    'evaluation.voc_metric',
)
OPTIM_WRAPPER_CONSTRUCTORS = _registry(
    'optimizer wrapper constructor',
    mmengine.OPTIM_WRAPPER_CONSTRUCTORS,
    'engine',
)
# Choice blocks of a search space: callables with the parameters
# ``in_channels``, ``out_channels``, ``stride``, ``shuffle`` and ``norm_cfg``.
CHOICE_BLOCKS = _registry('choice block', None, 'models')
# Search algorithms: ask for paths and are told their fitness.
ALGORITHMS = _registry('search algorithm', None, 'engine.search.settings')
# Executors: paths in, results out.
EXECUTORS = _registry('executor', None, 'engine.search.executors')
