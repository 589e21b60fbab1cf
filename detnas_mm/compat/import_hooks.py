"""Two import hooks that make the ``mm*`` stack run on today's torch.

They react to two modules and cost one string comparison for any other:

* ``mmcv._ext``, mmcv's compiled operators. The finder is the last one in
  ``sys.meta_path``, so it is asked only if mmcv was built without them. It
  then supplies :mod:`detnas_mm.compat.mmcv_ops`. A built extension always
  wins.
* ``mmengine.logging.history_buffer``. After its import, the classes that
  MMEngine stores in its checkpoints are allow-listed for ``torch.load``
  (:func:`detnas_mm.compat.safe_globals.allow_checkpoint_classes`). Without
  that a run cannot be resumed.

This module imports the standard library only.
"""

import sys
import warnings
from importlib.machinery import ModuleSpec
from types import ModuleType

EXTENSION = 'mmcv._ext'
HISTORY_BUFFER = 'mmengine.logging.history_buffer'


class OperatorFinder:
    """Finder of ``mmcv._ext`` for an mmcv that was built without it."""

    @classmethod
    def find_spec(
        cls, name: str, path: object = None, target: object = None
    ) -> ModuleSpec | None:
        if name != EXTENSION:
            return None
        return ModuleSpec(name, cls(), origin='detnas_mm.compat.mmcv_ops')

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        from detnas_mm.compat import mmcv_ops

        mmcv_ops.fill_extension(module)


class HistoryBufferFinder:
    """Finder that adds a step after the import of MMEngine's history."""

    @classmethod
    def find_spec(
        cls, name: str, path: object = None, target: object = None
    ) -> ModuleSpec | None:
        if name != HISTORY_BUFFER:
            return None
        for finder in sys.meta_path:
            if finder is not cls and hasattr(finder, 'find_spec'):
                spec = finder.find_spec(name, path, target)
                if spec is not None and spec.loader is not None:
                    spec.loader = _AllowListingLoader(spec.loader)
                    return spec
        return None


class _AllowListingLoader:
    """Loader that allow-lists MMEngine's classes after another loader."""

    def __init__(self, loader: object) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Tools that look for the source of the module need its own loader.
        module.__spec__.loader = module.__loader__ = self.loader
        self.loader.exec_module(module)

        from detnas_mm.compat import safe_globals

        safe_globals.allow_checkpoint_classes(module)


def install() -> None:
    """Put both finders into ``sys.meta_path``, once."""
    if OperatorFinder not in sys.meta_path:
        sys.meta_path.append(OperatorFinder)
    if HistoryBufferFinder not in sys.meta_path:
        sys.meta_path.insert(0, HistoryBufferFinder)
    # MMEngine imports pkg_resources at each start; users cannot change that.
    warnings.filterwarnings(
        'ignore', message='pkg_resources is deprecated', category=UserWarning
    )
