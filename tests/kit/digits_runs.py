"""Runs of the real configs on a few of the real digits, on one thread."""

import functools
import itertools
import json
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import mmengine.config.config
import mmengine.config.utils
import mmengine.dataset.base_dataset
import mmengine.runner.runner
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from detnas_mm.compat import setup_compat
from detnas_mm.datasets.digits.build import build_digits
from detnas_mm.datasets.digits.settings import DigitsSettings

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / 'configs'
SEARCH = 'digits/retinanet_detnas-search-tiny_fpn_digits'
SUPERNET = 'digits/retinanet_detnas-supernet-tiny_fpn_digits'
SIZES = DigitsSettings(
    train_images=24, search_images=8, test_images=8, train_crops=6, val_crops=3
)
_run_number = itertools.count()


def use_one_thread():
    """Uses one thread, and spares each Runner seconds of set-up."""
    setup_compat()
    torch.set_num_threads(1)
    # MMEngine formats the config and asks the compilers for their versions.
    mmengine.config.config.FormatCode = lambda text, **_: (text, True)
    mmengine.runner.runner.collect_env = dict
    # For each config of mmdet, MMEngine reads all metafiles of mmdet, and
    # loads the module that knows the installed packages again.
    for module, name in (
        (mmengine.config.utils, 'load'),
        (mmengine.config.config, 'is_installed'),
    ):
        setattr(module, name, functools.cache(getattr(module, name)))
    # Each data set collects garbage.
    mmengine.dataset.base_dataset.gc = SimpleNamespace(collect=lambda: None)


def digits_folder(base):
    """Builds the digits data, once for each test session."""
    folder = base / 'digits'
    if not folder.exists():
        build_digits(folder, SIZES)
    return folder


@functools.cache
def _read_config(name):
    return Config.fromfile(CONFIGS / f'{name}.py')


def load_config(name, digits, work_dir):
    """Loads a config and gives it the paths and sizes of a test."""
    config = deepcopy(_read_config(name))
    for split in ('train', 'val', 'test'):
        loader = config.get(f'{split}_dataloader')
        if loader is None:
            continue
        loader.update(num_workers=0, persistent_workers=False, batch_size=4)
        sub = 'classification' if 'cls' in name else ''
        loader.dataset.data_root = f'{digits / sub}/'
        evaluator = config[f'{split}_evaluator'] if split != 'train' else {}
        if 'ann_file' in evaluator:
            file = Path(evaluator.ann_file).name
            evaluator.ann_file = f'{digits}/annotations/{file}'
    for hook in config.get('custom_hooks', ()):
        if 'num_images' in hook:
            hook.num_images = 8
    if config.val_cfg.get('type') == 'detnas_mm.EvolutionSearchLoop':
        config.val_cfg.update(
            generations=2,
            algorithm=dict(type='Evolution', population=3, parents=2),
            constraint=dict(max_macs=41e6),
        )
        # Without this a barely trained detector predicts nothing.
        config.model.test_cfg.score_thr = 0.0
    config.launcher = 'none'
    config.work_dir = str(work_dir)
    config.experiment_name = f'test{next(_run_number)}'
    # With an equal name MMEngine would reuse the visualizer of another run.
    config.visualizer.name = config.experiment_name
    return config


def train_config(name, digits, work_dir, epochs=1):
    """Loads a config for a few iterations of training without validation."""
    config = load_config(name, digits, work_dir)
    config.train_cfg.max_epochs = epochs
    # The few iterations have one learning rate.
    config.param_scheduler = None
    config.optim_wrapper.optimizer.lr = 0.02
    config.val_cfg = config.val_dataloader = config.val_evaluator = None
    return config


def supernet_checkpoint(base):
    """Trains a supernet for 12 iterations, once for each test session."""
    file = base / 'supernet' / 'epoch_2.pth'
    if not file.exists():
        config = train_config(SUPERNET, digits_folder(base), file.parent, 2)
        config.model.backbone.init_cfg = dict(type='detnas_mm.AlignedInit')
        Runner.from_cfg(config).train()
    return file


def search_config(base, work_dir, name=SEARCH):
    """Loads a search of 2 generations of 3 paths in that supernet."""
    config = load_config(name, digits_folder(base), work_dir)
    config.load_from = str(supernet_checkpoint(base))
    return config


def run_search(config):
    """Runs a search and returns the candidates of its record."""
    Runner.from_cfg(config).val()
    return read_candidates(config.work_dir)


def read_candidates(work_dir):
    """Reads the candidates of a record, in the order of their index."""
    lines = (Path(work_dir) / 'search_record.jsonl').read_text().splitlines()
    candidates = [json.loads(line) for line in lines[1:]]
    return sorted(candidates, key=lambda candidate: candidate['index'])


def without_seconds(candidates):
    """Returns the candidates without what differs between equal searches."""
    return [
        {
            key: value
            for key, value in candidate.items()
            if not key.startswith('seconds')
        }
        for candidate in candidates
    ]
