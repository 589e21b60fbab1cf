"""All stages by their command lines, each from the files of the last.

The search is killed and resumed by two processes, and must give the record of
one undisturbed process.
"""

import json
import pickle
import subprocess

import torch
from kit.command_lines import (
    ALL_BOXES,
    RECALIBRATION,
    SMALL_SEARCH,
    TRAINING,
    command,
    config_file,
    environment,
    kill_when,
    loading_options,
    run,
    run_here,
    torchrun,
)
from kit.digits_runs import (
    SEARCH,
    load_config,
    read_candidates,
    run_search,
    without_seconds,
)

from detnas_mm.structures import SEARCH_SPACES
from detnas_mm.utils.files import file_digest

TINY = SEARCH_SPACES['tiny']


def test_all_stages(digits, tmp_path):
    stage_1 = tmp_path / 'cls'
    train_classifier(digits, stage_1)
    stage_2 = tmp_path / 'det'
    train(
        'retinanet_detnas-supernet-tiny_fpn_digits',
        *(digits, stage_2, *RECALIBRATION),
        f'model.backbone.init_cfg.checkpoint={stage_1 / "epoch_1.pth"}',
    )
    stage_3 = tmp_path / 'search'
    search(digits, tmp_path, stage_3, stage_2 / 'epoch_1.pth')
    final = tmp_path / 'final'
    train_searched(digits, tmp_path, final, stage_1, stage_3)
    report_result(digits, tmp_path, final, stage_3)


def train_classifier(digits, work_dir):
    options = loading_options(digits, 'train', 'val', classification=True)
    log = run_here(
        'train.py',
        config_file('detnas-supernet-tiny_digits-cls'),
        *('--work-dir', work_dir, '--cfg-options'),
        *options,
        *TRAINING,
        *RECALIBRATION,
    )
    assert 'accuracy/top1' in log


def train(name, digits, work_dir, *options):
    """Trains a detector."""
    run_here(
        *('train.py', config_file(name), '--work-dir', work_dir),
        *('--cfg-options', *loading_options(digits, 'train', 'val')),
        *(*TRAINING, *ALL_BOXES, *options),
    )


def search(digits, cwd, work_dir, checkpoint):
    args = [
        config_file('retinanet_detnas-search-tiny_fpn_digits'),
        checkpoint,
        *('--work-dir', work_dir, '--seed', 3),
        '--cfg-options',
        *loading_options(digits, 'train', 'val'),
        *SMALL_SEARCH,
    ]
    record = work_dir / 'search_record.jsonl'

    def has_two_candidates():
        return record.exists() and record.read_bytes().count(b'\n') > 2

    with subprocess.Popen(
        command('search.py', *args),
        cwd=cwd,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        kill_when(process, has_two_candidates)
    before = record.read_bytes()
    whole_lines = before[: before.rindex(b'\n') + 1]
    assert 2 <= whole_lines.count(b'\n') - 1 < 6
    run(
        'search.py',
        *(*args[:4], '--resume', '--launcher', 'pytorch', *args[4:]),
        cwd=cwd,
        launcher=torchrun(),
    )
    # Recorded candidates are not evaluated again.
    assert record.read_bytes().startswith(whole_lines)
    config = load_config(SEARCH, digits, cwd / 'undisturbed')
    config.load_from = str(checkpoint)
    config.val_cfg.seed = 3
    undisturbed = without_seconds(run_search(config))
    assert without_seconds(read_candidates(work_dir)) == undisturbed
    assert (work_dir / 'best_backbone.py').exists()


def train_searched(digits, cwd, work_dir, stage_1, stage_3):
    """Starts from the supernet's own weights of the path."""
    best = stage_3 / 'best.json'
    weights = cwd / 'best.pth'
    log = run_here(
        'model_converters/supernet_to_subnet.py',
        config_file('detnas-supernet-tiny_digits-cls'),
        *(stage_1 / 'epoch_1.pth', best, weights, '--cfg-options'),
        *loading_options(digits, 'train', classification=True),
        *RECALIBRATION,
    )
    path = json.loads(best.read_text())['path']
    assert f'path {path}, BN statistics recomputed' in log
    train(
        *('retinanet_detnas-tiny_fpn_digits', digits, work_dir),
        f'model.backbone.path={best}',
        f'model.backbone.init_cfg.checkpoint={weights}',
        'custom_hooks.0.num_images=8',
    )


def report_result(digits, cwd, work_dir, stage_3):
    best = stage_3 / 'best.json'
    checkpoint = work_dir / 'epoch_1.pth'
    weights = torch.load(checkpoint)['state_dict']
    path = TINY.parse(json.loads(best.read_text())['path'])
    blocks = {key.split('.')[2] for key in weights if 'backbone.blocks' in key}
    assert blocks == {str(index) for index in range(len(path))}
    before = file_digest(checkpoint)
    log = run_here(
        'test.py',
        config_file('retinanet_detnas-tiny_fpn_digits'),
        checkpoint,
        *('--work-dir', cwd / 'test', '--out', cwd / 'predictions.pkl'),
        '--cfg-options',
        f'model.backbone.path={best}',
        # The weights come from the checkpoint that is tested.
        'model.backbone.init_cfg=None',
        *loading_options(digits, 'test'),
        *ALL_BOXES,
    )
    assert 'coco/bbox_mAP' in log
    predictions = pickle.loads((cwd / 'predictions.pkl').read_bytes())
    images = {item['img_path'].split('/')[-2] for item in predictions}
    assert images == {'test'}
    assert len(predictions) == 8
    assert file_digest(checkpoint) == before
