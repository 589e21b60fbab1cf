"""The documentation: its links, its navigation, and its configs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from kit.digits_runs import ROOT
from kit.results import PAPER, config_of, write_best
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

PAGES = sorted([*(ROOT / 'docs').glob('*.md'), *ROOT.glob('*.md')])
LINK = re.compile(r'\]\(([^)\s]+)\)')
CONFIG = re.compile(r'^```python\n(_base_ = .*?)^```', re.S | re.M)
BEST = 'work_dirs/my_search/best_backbone.py'


def without_code(text):
    return re.sub(r'^ *```.*?^ *```', '', text, flags=re.S | re.M)


def anchors(text):
    """Anchors of the headings of a page."""
    headings = re.findall(r'^#+ (.+)$', without_code(text), re.M)
    return {
        re.sub(r'[^\w\- ]', '', heading.lower()).strip().replace(' ', '-')
        for heading in headings
    }


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in LINK.findall(without_code(page.read_text())):
        if re.match(r'https?:|mailto:', link):
            continue
        target, _, anchor = link.partition('#')
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), link
        assert ROOT in file.parents
        if anchor:
            assert anchor in anchors(file.read_text()), link


def test_files_that_are_named_exist():
    """Configs and tools in the text and in its commands."""
    named = set()
    for page in PAGES:
        text = page.read_text()
        pattern = r'\b(?:configs|tools|demo|docs)/[\w./-]+\.(?:py|sh|md|ipynb)'
        named |= set(re.findall(pattern, text))
    # What the reader writes in the examples.
    own = ('configs/mine/', 'configs/my_net/')
    named = {name for name in named if not name.startswith(own)}
    assert len(named) > 20
    assert not [name for name in named if not (ROOT / name).exists()]


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


def documented_configs():
    for page in PAGES:
        for number, text in enumerate(CONFIG.findall(page.read_text())):
            if 'my_supernet' not in text:
                yield pytest.param(text, id=f'{page.name}-{number}')


@pytest.fixture
def documented(tmp_path):
    """Loads a config of a page, beside the results of a search."""

    def load(text):
        folder = (tmp_path / BEST).parent
        folder.mkdir(parents=True)
        write_best(folder)
        file = tmp_path / 'config.py'
        file.write_text(text.replace('../_base_', f'{ROOT}/configs/_base_'))
        init_default_scope('mmdet')
        return Config.fromfile(file)

    return load


@pytest.mark.parametrize('text', list(documented_configs()))
def test_documented_configs_fit_together(text, documented):
    config = documented(text)
    backbone = MODELS.build(dict(config.model.backbone, init_cfg=None))
    assert list(backbone.out_channels) == config.model.neck.in_channels
    if 'Pretrained' in text:
        assert config.model.backbone.init_cfg.prefix == 'backbone.'
    assert 'depth' not in config.model.backbone  # nothing left of the ResNet


def preprocessed(settings, image):
    """An image as the network gets it."""
    module = MODELS.build(settings)
    return module(dict(inputs=[image]))['inputs'][0].float()


@pytest.mark.parametrize('text', list(documented_configs()))
def test_documented_configs_give_weights_their_images(text, documented):
    """Those of the training that the weights, or the search, come from."""
    config = documented(text)
    origin = PAPER
    if 'Pretrained' in text:
        checkpoint = Path(config.model.backbone.init_cfg.checkpoint)
        origin = f'detnas/{checkpoint.parent.name}'
    before = config_of(origin)
    settings = before['model'].get('data_preprocessor') or dict(
        before['data_preprocessor'], type='mmpretrain.ClsDataPreprocessor'
    )
    # A size that nothing is padded to.
    image = torch.randint(256, (3, 64, 64)).byte()
    got = preprocessed(config.model.data_preprocessor, image)
    assert torch.equal(got, preprocessed(settings, image))
