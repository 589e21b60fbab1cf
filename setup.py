"""Build steps that setup.cfg cannot express; everything else is there.

* ``detnas_mm.pth`` beside the package, which provides mmcv's operators from
  the start of the interpreter on (see ``detnas_mm/compat/startup.py``).
* configs, tools and the model index inside the package, in
  ``detnas_mm/.mim``, where OpenMMLab's package manager looks for them.
"""

import os
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MIM_CONTENTS = ('configs', 'tools', 'model-index.yml', 'dataset-index.yml')


class BuildPackage(build_py):
    """Add ``detnas_mm.pth`` and ``.mim`` to the installed files."""

    def run(self) -> None:
        base = ROOT if self.editable_mode else Path(self.build_lib)
        package = base / 'detnas_mm'
        mim = package / '.mim'
        # Files of an earlier build would go into this wheel as well.
        shutil.rmtree(
            mim if self.editable_mode else package, ignore_errors=True
        )
        super().run()
        mim.mkdir(parents=True)
        for name in MIM_CONTENTS:
            if (ROOT / name).exists():
                self.add_to_mim(ROOT / name, mim / name)
        self.write_startup()

    def add_to_mim(self, source: Path, target: Path) -> None:
        """Link in an editable install, copy in a wheel."""
        if self.editable_mode:
            target.symlink_to(os.path.relpath(source, target.parent))
        elif source.is_dir():
            ignore = shutil.ignore_patterns('__pycache__', '*.pyc')
            shutil.copytree(source, target, ignore=ignore)
        else:
            shutil.copy(source, target)

    def write_startup(self) -> None:
        """Write the start-up code as the one line that Python runs."""
        source = (ROOT / 'detnas_mm' / 'compat' / 'startup.py').read_text(
            'utf-8'
        )
        names = {'__name__': 'detnas_mm.compat.startup'}
        # An editable install takes only the package from the build folder;
        # there, `install_lib` is the root of the wheel.
        base = self.build_lib
        if self.editable_mode:
            base = self.get_finalized_command('install').install_lib
        line = f'import sys; exec({source!r}, {names!r})\n'
        Path(base, 'detnas_mm.pth').write_text(line, 'utf-8')


setup(cmdclass={'build_py': BuildPackage})
