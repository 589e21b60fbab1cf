"""The documentation: its links, navigation, commands and configs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from kit.configs import for_each
from kit.digits_runs import ROOT
from kit.results import PAPER, config_of, write_best
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

PAGES = sorted([*(ROOT / 'docs').glob('*.md'), *ROOT.glob('*.md')])
LINK = re.compile(r'\]\(([^)\s]+)\)')
CONFIG = re.compile(r'^```python\n(_base_ = .*?)^```', re.S | re.M)
BASH = re.compile(r'^ *```bash\n(.*?)^ *```', re.S | re.M)
FOLDERS = 'configs|tools|benchmarks|demo|docs|tests'
FILE = re.compile(rf'\b(?:{FOLDERS})/[\w./-]+\.(?:py|sh|md|ipynb)')
BEST = 'work_dirs/my_search/best_backbone.py'


def without_code(text):
    return re.sub(r'^ *```.*?^ *```', '', text, flags=re.S | re.M)


def anchors(text):
    """Returns the anchors of the headings of a page."""
    headings = re.findall(r'^#+ (.+)$', without_code(text), re.M)
    return {
        re.sub(r'[^\w\- ]', '', heading.lower()).strip().replace(' ', '-')
        for heading in headings
    }


@for_each(PAGES)
def test_targets_of_links_exist(page):
    for link in LINK.findall(without_code(page.read_text())):
        if re.match(r'https?:|mailto:', link):
            continue
        target, _, anchor = link.partition('#')
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), link
        assert ROOT in file.parents
        if anchor:
            assert anchor in anchors(file.read_text()), link


@for_each(PAGES)
def test_named_files_exist(page):
    # The reader writes the configs of these folders.
    own = ('configs/mine/', 'configs/my_net/', 'configs/random/')
    for name in FILE.findall(page.read_text()):
        assert name.startswith(own) or (ROOT / name).exists(), name


@for_each(PAGES)
def test_shell_commands_parse(page):
    for block in BASH.findall(page.read_text()):
        # A placeholder such as <this repository> is no redirection.
        block = re.sub(r'<[\w ]+>', 'PLACEHOLDER', block)
        parsed = subprocess.run(
            ['bash', '-n'], input=block, capture_output=True, text=True
        )
        assert parsed.returncode == 0, (block, parsed.stderr)


def nav_pages(entry):
    if isinstance(entry, str):
        return [entry]
    children = entry.values() if isinstance(entry, dict) else entry
    return [page for child in children for page in nav_pages(child)]


def test_navigation_has_every_page():
    nav = yaml.safe_load((ROOT / 'mkdocs.yml').read_text())['nav']
    pages = {path.name for path in (ROOT / 'docs').glob('*.md')}
    assert sorted(nav_pages(nav)) == sorted(pages)


def test_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip('mkdocs')
    pytest.importorskip('mkdocstrings')
    if shutil.which('mkdocs', path=Path(sys.executable).parent) is None:
        pytest.skip('no mkdocs')
    command = [sys.executable, '-m', 'mkdocs', 'build', '--strict', '-q']
    done = subprocess.run(
        [*command, '-d', tmp_path], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert 'EvolutionSearchLoop' in (tmp_path / 'api/index.html').read_text()


def test_documented_configs_fit_together(tmp_path):
    """Channels fit, and weights get the images of their training."""
    (tmp_path / BEST).parent.mkdir(parents=True)
    write_best((tmp_path / BEST).parent)
    init_default_scope('mmdet')
    texts = [t for page in PAGES for t in CONFIG.findall(page.read_text())]
    texts = [text for text in texts if 'my_supernet' not in text]
    assert len(texts) > 8
    for text in texts:
        file = tmp_path / 'config.py'
        file.write_text(text.replace('../_base_', f'{ROOT}/configs/_base_'))
        model = Config.fromfile(file).model
        with torch.device('meta'):
            backbone = MODELS.build(dict(model.backbone, init_cfg=None))
        assert list(backbone.out_channels) == model.neck.in_channels, text
        # Nothing of the ResNet of the base config is left.
        assert 'depth' not in model.backbone
        origin = PAPER
        if 'Pretrained' in text:
            assert model.backbone.init_cfg.prefix == 'backbone.'
            checkpoint = Path(model.backbone.init_cfg.checkpoint)
            origin = f'detnas/{checkpoint.parent.name}'
        before = config_of(origin)
        settings = before['model'].get('data_preprocessor') or dict(
            before['data_preprocessor'], type='mmpretrain.ClsDataPreprocessor'
        )
        # A size that needs no padding.
        image = torch.randint(256, (3, 64, 64)).byte()
        ours, expected = (
            MODELS.build(part)(dict(inputs=[image]))['inputs'][0].float()
            for part in (model.data_preprocessor, settings)
        )
        assert torch.equal(ours, expected), text
