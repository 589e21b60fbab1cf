"""From a folder of images to a project, and its run.sh to the end."""

import contextlib
import importlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from kit.command_lines import run_here
from kit.digits_runs import ROOT
from kit.folders import CLASSES, make_images, write_voc, write_yolo
from kit.foreign import AuthorsBackbone, SPOSBackbone
from mmengine.config import Config
from torch.nn import BatchNorm2d, SyncBatchNorm

from detnas_mm.compat import setup_compat
from detnas_mm.engine.checks import require_pretrained
from detnas_mm.models import DetNASSupernet, build_model
from detnas_mm.structures import get_search_space

# 60 images, every fifth of them without objects.
IMAGES = make_images(60, size=(96, 64))
TINY = [
    '--no-timing',
    '--budget=1h',
    '--iterations=4',
    '--population=2',
    '--generations=2',
    '--top=1',
    '--share=0.5',
]


def new_search(folder, *args):
    """Writes a project for a YOLO folder without splits of its own."""
    data = folder / 'data'
    if not data.exists():
        write_yolo(data, IMAGES, {'train': IMAGES})
    return run_here('new_search.py', data, folder / 'project', *TINY, *args)


def load(file):
    setup_compat()
    return Config.fromfile(file)


def test_a_project_has_three_parts_and_short_configs(tmp_path):
    printed = new_search(tmp_path)
    project = tmp_path / 'project'
    images = {}
    for part, count in (('train', 36), ('search', 12), ('test', 12)):
        file = project / f'annotations/{part}.json'
        content = json.loads(file.read_text())
        assert len(content['images']) == count
        names = [c['name'] for c in content['categories']]
        assert names == sorted(CLASSES)
        images[part] = {image['file_name'] for image in content['images']}
    assert len(set.union(*images.values())) == 60
    assert re.search(r'train: \d images have no box', printed)
    for file in project.glob('*.py'):
        assert len(file.read_text().splitlines()) <= 25, file
    page = (project / 'data.html').read_text()
    assert page.count('src="data:image/jpeg;base64,') == 12
    # It needs no other file.
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert '<th>train</th><td>36</td>' in page
    config = load(project / 'search.py')
    assert config.val_cfg.algorithm.population == 2
    assert config.val_dataloader.dataset.ann_file == 'annotations/search.json'
    assert config.test_dataloader.dataset.ann_file == 'annotations/test.json'
    assert config.model.bbox_head.num_classes == 2
    # Where the found network is trained to the end, on both.
    both = load(project / 'detector.py').train_dataloader.dataset.datasets
    assert [dataset.ann_file for dataset in both] == [
        'annotations/train.json',
        'annotations/search.json',
    ]
    before = (project / 'run.sh').read_text()
    with pytest.raises(SystemExit):
        new_search(tmp_path)
    assert (project / 'run.sh').read_text() == before


@pytest.mark.parametrize(
    ('detector', 'kind'),
    [
        ('retinanet', 'RetinaNet'),
        ('faster-rcnn', 'FasterRCNN'),
        ('mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py', 'FCOS'),
        ('mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py', 'CascadeRCNN'),
    ],
)
def test_detectors_have_the_classes_of_the_data(tmp_path, detector, kind):
    write_yolo(tmp_path / 'data', IMAGES, {'train': IMAGES})
    file = next((tmp_path / 'data/labels/train').iterdir())
    lines = [f'0 0.5 0.5 {0.2 + i / 1000} 0.3' for i in range(101)]
    file.write_text('\n'.join(lines))
    new_search(tmp_path, '--detector', detector)
    config = load(tmp_path / 'project/search.py')
    with torch.device('meta'):
        model = build_model(config)
    assert type(model).__name__ == kind
    last = model.test_cfg.get('rcnn') or model.test_cfg
    assert last.max_per_img == 150  # one image has 101 boxes
    outputs = {
        part.num_classes
        for name, part in model.named_modules()
        if hasattr(part, 'num_classes') and 'rpn' not in name
    }
    assert outputs == {2}
    # The levels share it, but not their statistics.
    dense = model.rpn_head if hasattr(model, 'rpn_head') else model.bbox_head
    kinds = {type(part) for part in dense.modules()}
    assert not kinds & {BatchNorm2d, SyncBatchNorm}
    assert type(model.backbone).__name__ == 'DetNASSupernet'
    assert config.train_dataloader.dataset.metainfo.classes == ('ant', 'cat')


@pytest.mark.parametrize('detector', ['retinanet', 'faster-rcnn'])
def test_with_gpus_the_plan_is_that_of_the_paper(
    tmp_path, monkeypatch, detector
):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 8)
    write_yolo(tmp_path / 'data', IMAGES, {'train': IMAGES})
    project = tmp_path / 'project'
    options = ('--no-timing', '--detector', detector)
    run_here('new_search.py', tmp_path / 'data', project, *options)
    for file in project.glob('*.py'):
        assert len(file.read_text().splitlines()) <= 25, file
    config = load(project / 'search.py')
    search = config.val_cfg
    assert (search.generations, search.algorithm.population) == (20, 50)
    assert search.constraint == dict(max_macs=300e6)
    assert config.model.backbone.search_space == 'small'
    assert config.model.neck.out_channels == 256
    # Of 8 images, as there are few, each GPU has one.
    assert config.train_dataloader.batch_size == 1
    with torch.device('meta'):
        build_model(config)
    script = (project / 'run.sh').read_text()
    assert script.count('torch.distributed.run --nproc_per_node 8') == 3
    assert script.count('--launcher pytorch') == 3
    subprocess.run(['bash', '-n', project / 'run.sh'], check=True)


def test_published_weights_are_recognized_and_converted(tmp_path, capsys):
    space = get_search_space('small')
    kinds = {
        'authors': AuthorsBackbone(space),
        'spos': SPOSBackbone(space, classes=2),
    }
    for kind, net in kinds.items():
        folder = tmp_path / kind
        folder.mkdir()
        file = folder / 'supernet.pth'
        torch.save(net.state_dict(), file)
        new_search(folder, '--weights', file)
        config = load(folder / 'project/supernet.py')
        assert config.model.backbone.search_space == 'small'
        # As their code reads images.
        assert config.model.data_preprocessor.std == [1.0] * 3
        with contextlib.chdir(folder / 'project'):
            model = build_model(config)
            require_pretrained(model, config)
            model.backbone.init_weights()
        stem = {'authors': 'first_conv.conv', 'spos': 'first_conv.0'}[kind]
        expected = net.get_submodule(stem).weight
        assert torch.equal(model.backbone.stem[0].weight, expected)
    shuffles = [
        load(tmp_path / kind / 'project/detector.py').model.backbone.shuffle
        for kind in kinds
    ]
    assert shuffles == ['grouped', 'interleaved']
    # What this project trains is used as it is.
    own = DetNASSupernet('elastic', out_indices=range(4))
    state = {f'backbone.{k}': v for k, v in own.state_dict().items()}
    torch.save({'state_dict': state | {'head.fc.bias': torch.ones(3)}}, file)
    shutil.rmtree(folder / 'project')
    new_search(folder, '--weights', file)
    config = load(folder / 'project/supernet.py')
    assert config.model.backbone.search_space == 'elastic'
    with contextlib.chdir(folder / 'project'):
        require_pretrained(build_model(config), config)
    torch.save(AuthorsBackbone(space, (0,) * 20).state_dict(), file)
    shutil.rmtree(folder / 'project')
    with pytest.raises(SystemExit):
        new_search(folder, '--weights', file)
    assert f'one path, {"0" * 20}' in capsys.readouterr().err


def test_a_failed_command_leaves_no_folder(tmp_path, capsys):
    with pytest.raises(SystemExit):
        new_search(
            tmp_path, '--detector', 'mmdet::yolox/yolox_s_8xb8-300e_coco.py'
        )
    assert 'expected four maps' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        new_search(
            tmp_path,
            '--detector=mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
        )
    assert 'predicts masks' in capsys.readouterr().err
    assert not (tmp_path / 'project').exists()
    for option in (
        '--budget=2',
        '--budget=h',
        '--seeds=0',
        '--seed=-1',
        '--iterations=0',
        '--population=1',
        '--share=2',
        '--flip=3',
        '--factor=-1',
        '--factor=0.1',
        '--ann-file=a.json',
    ):
        with pytest.raises(SystemExit):
            new_search(tmp_path, option)
        assert option.partition('=')[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ('budget', 'most', 'is_short'), [('2min', 2, True), ('9h', 540, False)]
)
def test_a_budget_that_is_too_short_is_said(
    tmp_path, monkeypatch, capsys, budget, most, is_short
):
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    tool = importlib.import_module('new_search')
    timing = tool.Timing(2.0, 0.1, 0.1, 10.0, factor=0.5)
    monkeypatch.setattr(tool, 'measure', lambda *_: timing)
    write_yolo(tmp_path / 'data', IMAGES, {'train': IMAGES})
    project = tmp_path / 'project'
    words = ['new_search', str(tmp_path / 'data'), str(project)]
    monkeypatch.setattr(sys, 'argv', [*words, '--budget', budget])
    tool.main()
    printed = capsys.readouterr().out
    assert ('more than the budget of 2 min' in printed) == is_short
    minutes = int(re.search(r'together +([0-9,]+) min', printed)[1])
    # Those of four steps, each rounded up.
    assert minutes > most if is_short else minutes <= most + 4


def test_names_with_spaces_quotes_and_letters_of_all_kinds(tmp_path):
    folder = tmp_path / "l'été 1"
    folder.mkdir()
    printed = new_search(folder)
    # The last words are a command to copy.
    command = printed[printed.rindex('bash ') :]
    project = folder / 'project'
    assert shlex.split(command) == ['bash', str(project / 'run.sh')]
    assert load(project / 'search.py').images == str(folder / 'data')
    subprocess.run(['bash', '-n', project / 'run.sh'], check=True)
    # A file in place of the folder is refused as a folder with files is.
    file = tmp_path / 'file'
    file.touch()
    with pytest.raises(SystemExit):
        run_here('new_search.py', folder / 'data', file, *TINY)


def test_run_says_that_python_lacks_the_package(tmp_path):
    new_search(tmp_path)
    python = tmp_path / 'bin/python'
    python.parent.mkdir()
    python.write_text('#!/bin/sh\nexit 1\n')
    python.chmod(0o755)
    result = subprocess.run(
        ['bash', tmp_path / 'project/run.sh'],
        env=os.environ | {'PATH': f'{python.parent}:{os.environ["PATH"]}'},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert result.stderr == (
        'error: `python` lacks detnas_mm; activate its environment\n'
    )


def start(project):
    """Starts run.sh with the python of this test."""
    folder = Path(sys.executable).parent
    return subprocess.Popen(
        ['bash', project / 'run.sh'],
        env=os.environ
        | dict(
            PATH=f'{folder}:{os.environ["PATH"]}',
            PYTHONPATH=str(ROOT),
            OMP_NUM_THREADS='1',
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def recorded(project):
    file = project / 'work/search/search_record.jsonl'
    lines = file.read_text().splitlines()[1:] if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith('}')]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_run_continues_after_a_kill_and_a_move(tmp_path):
    new_search(tmp_path)
    project = tmp_path / 'project'
    # Four iterations teach nothing; every box counts.
    model = project / 'model.py'
    text = model.read_text()
    assert 'score_thr=0.01' in text
    model.write_text(text.replace('score_thr=0.01', 'score_thr=0.0'))
    with start(project) as process:
        while not recorded(project):
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
        moved = tmp_path / 'elsewhere/deeper/project'
        moved.parent.mkdir(parents=True)
        time.sleep(5)  # its step ends by itself
        before = recorded(project)
        shutil.move(project, moved)
    with start(moved) as process:
        printed, _ = process.communicate()
    assert process.returncode == 0, printed
    assert 'done before, see work/supernet.log' in printed
    after = recorded(moved)
    assert after[: len(before)] == before
    assert len(after) == 4
    result = json.loads((moved / 'work/verdict.json').read_text())
    assert [net['net'] for net in result['nets']] == [
        'found',
        'even',
        'random',
    ]
    macs = [net['macs'] for net in result['nets']]
    assert max(macs) - min(macs) < 0.05 * max(macs)
    page = (moved / 'work/verdict.html').read_text()
    assert page.count('src="data:image/jpeg;base64,') == 6
    table = (moved / 'work/verdict.txt').read_text()
    assert 'found - even: ' in table
    assert table in printed
    report = (moved / 'work/search/report.html').read_text()
    assert 'found - even: ' in report
    assert 'href="../verdict.html"' in report


def test_a_folder_in_the_format_of_voc_keeps_its_splits(tmp_path):
    write_voc(tmp_path / 'data', make_images(18))
    new_search(tmp_path)
    for part, count in (('train', 10), ('search', 4), ('test', 4)):
        file = tmp_path / f'project/annotations/{part}.json'
        assert len(json.loads(file.read_text())['images']) == count
