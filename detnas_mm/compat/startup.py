"""Code for the start of every interpreter; not imported as a module.

``setup.py`` writes this file as one line into ``detnas_mm.pth`` beside the
installed packages, where Python runs it at start-up. Programs that never
mention detnas_mm, such as mmdet's own tools, then import it as soon as they
import mmcv or MMEngine, so that its import hooks are in place. Before that,
this code imports nothing and reads no file. To switch it off, delete
``detnas_mm.pth``; ``python -m detnas_mm.check_env`` shows where it is.
"""

import sys


class DetnasMMStartup:
    """Finder that finds nothing, but reacts to mmcv and MMEngine."""

    waiting = True

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if cls.waiting and name in ('mmcv', 'mmengine'):
            cls.waiting = False
            try:  # noqa: SIM105 - contextlib would have to be imported
                import detnas_mm  # noqa: F401
            except ImportError:  # detnas_mm was uninstalled
                pass
        return None


# Python may run the line twice in a virtual environment. The finder comes
# first, since the one that finds mmcv ends the search.
if DetnasMMStartup.__name__ not in [
    getattr(finder, '__name__', '') for finder in sys.meta_path
]:
    sys.meta_path.insert(0, DetnasMMStartup)
