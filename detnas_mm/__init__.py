"""DetNAS: backbone search for object detection in the MM* family.

Importing the package loads neither torch nor any ``mm*`` package. It only
installs the import hooks (:mod:`detnas_mm.compat.import_hooks`), which act
when those packages are imported. The public names are loaded on first use.
"""

from importlib import import_module

from detnas_mm.compat import import_hooks
from detnas_mm.version import __version__

_MODULE_OF_NAME = {
    'SearchSpace': 'structures',
    'SEARCH_SPACES': 'structures',
    'Evolution': 'search',
    'RandomSearch': 'search',
    'SurrogateEvolution': 'search',
    'DetNASSupernet': 'models',
    'DetNASNet': 'models',
    'SinglePathSamplingHook': 'engine',
    'BNRecalibrationHook': 'engine',
    'EvolutionSearchLoop': 'engine',
}
_SUBMODULES = ('cost',)

__all__ = ['__version__', *_MODULE_OF_NAME, *_SUBMODULES]

import_hooks.install()


def __getattr__(name: str) -> object:
    """Load a public name on first use (PEP 562)."""
    if name in _SUBMODULES:
        return import_module(f'{__name__}.{name}')
    if name not in _MODULE_OF_NAME:
        raise AttributeError(
            f'module {__name__!r} has no attribute {name!r}; available: '
            f'{", ".join(__all__)}'
        )
    module = import_module(f'{__name__}.{_MODULE_OF_NAME[name]}')
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
