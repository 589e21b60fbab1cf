"""Imports, checkpoints, versions and launchers of the patched stack."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner, load_checkpoint
from torch import nn

from detnas_mm import compat
from detnas_mm.utils.errors import InputError

ROOT = Path(__file__).parents[2]


def run_python(code: str, *options: str, path: Path = ROOT) -> str:
    """Run code in a fresh interpreter and return its standard output."""
    result = subprocess.run(
        [sys.executable, *options, '-c', dedent(code)],
        env={**os.environ, 'PYTHONPATH': f'{path}{os.pathsep}{ROOT}'},
        cwd=path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


# --- imports ---------------------------------------------------------------


def test_mmdet_and_all_operators_of_mmcv_import():
    output = run_python(
        """
        import sys, detnas_mm.registry
        # Versions are checked only if an import fails.
        assert 'detnas_mm.compat.versions' not in sys.modules
        import mmdet, mmcv.ops, importlib.util, inspect
        from mmengine.logging import history_buffer

        spec = importlib.util.find_spec('mmcv._ext')
        assert spec is mmcv._ext.__spec__ and spec.loader is not None
        assert mmcv.ops.get_compiler_version()
        # The hook on this module leaves no trace on it.
        assert inspect.getsource(history_buffer)
        print(type(history_buffer.__loader__).__name__)
        """
    )
    assert output == 'SourceFileLoader'


def test_built_extension_of_mmcv_wins(tmp_path):
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').touch()
    (tmp_path / 'mmcv' / '_ext.py').write_text("nms = 'compiled'")
    code = """
        import detnas_mm, mmcv._ext
        print(mmcv._ext.nms)
    """
    assert run_python(code, path=tmp_path) == 'compiled'


# --- checkpoints -----------------------------------------------------------


class ToyModel(BaseModel):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, x, mode='loss'):
        y = self.linear(x)
        return {'loss': y.square().mean()} if mode == 'loss' else [y]


class ToyMetric(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        # mmdet's metrics return numpy numbers, too.
        return {'score': np.float32(0.5), 'count': np.int64(len(results))}


def make_runner(work_dir, epochs, launcher='none', **settings):
    config = {'model_wrapper_cfg': None}
    compat.init_distributed(launcher, config)
    loader = {
        'dataset': [{'x': torch.ones(2)}] * 4,
        'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        'batch_size': 2,
        'num_workers': 0,
        'collate_fn': {'type': 'default_collate'},
    }
    return Runner(
        model=ToyModel(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        val_dataloader=dict(loader),
        train_cfg={'by_epoch': True, 'max_epochs': epochs},
        val_cfg={},
        val_evaluator=Evaluator(ToyMetric(prefix='toy')),
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}},
        param_scheduler=[{'type': 'MultiStepLR', 'milestones': [1]}],
        default_hooks={
            'checkpoint': {
                'type': 'CheckpointHook',
                'save_best': 'toy/score',
                'rule': 'greater',
            }
        },
        custom_hooks=[{'type': 'EMAHook'}],
        experiment_name=f'toy_{work_dir.name}_{epochs}',
        launcher=launcher,
        log_level='ERROR',
        cfg=config,
        **settings,
    )


def test_a_run_of_mmengine_is_resumed(tmp_path):
    """Its checkpoints hold nothing but what is allowed."""
    make_runner(tmp_path, epochs=1).train()
    checkpoint = tmp_path / 'epoch_1.pth'
    compat.setup_compat()
    unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(checkpoint)
    assert unsafe == []
    state = torch.load(checkpoint, weights_only=True)
    history = state['message_hub']['log_scalars']['train/loss']
    assert isinstance(history, HistoryBuffer)
    assert history.mean() == pytest.approx(np.mean(history.data[0]))

    resumed = make_runner(tmp_path, epochs=2, resume=True)
    resumed.train()
    assert resumed.epoch == 2
    losses, _ = resumed.message_hub.get_scalar('train/loss').data
    assert len(losses) == 4  # two iterations in each of two epochs


def test_checkpoint_written_under_numpy_1_is_read(tmp_path):
    compat.setup_compat()
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    file = tmp_path / 'numpy_2.pth'
    torch.save(
        {'loss': history, 'best': np.float64(0.5)},
        file,
        _use_new_zipfile_serialization=False,
    )
    # numpy 1 has another name for the module of its array builders.
    old = tmp_path / 'numpy_1.pth'
    old.write_bytes(file.read_bytes().replace(b'numpy._core', b'numpy.core'))
    state = torch.load(old, weights_only=True)
    assert state['best'] == 0.5
    assert state['loss'].data[0].tolist() == [1.0, 2.0]


class Malicious:
    """Runs code when it is unpickled without restriction."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize('loader', [torch.load, load_checkpoint])
@pytest.mark.parametrize('attack', ['call', 'getattr'])
def test_checkpoint_that_runs_code_is_refused(tmp_path, loader, attack):
    compat.setup_compat()
    target = tmp_path / 'executed'
    payload = {
        'call': Malicious(os.mkdir, str(target)),
        # The allowed use of `getattr` must not give access to more.
        'getattr': Malicious(getattr, HistoryBuffer, '__init__'),
    }[attack]
    file = tmp_path / 'stranger.pth'
    torch.save({'state_dict': {}, 'meta': payload}, file)
    arguments = (file,) if loader is torch.load else (ToyModel(), str(file))
    with pytest.raises(Exception, match='(?i)weights.only|HistoryBuffer'):
        loader(*arguments)
    assert not target.exists()


# --- distributed -----------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason='is about no GPU')
@pytest.mark.parametrize('device', ['cpu', 'mps'])
def test_launcher_pytorch_trains_without_gpus(tmp_path, monkeypatch, device):
    monkeypatch.setattr('mmengine.device.utils.DEVICE', device)
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    variables = {'RANK': 0, 'LOCAL_RANK': 0, 'WORLD_SIZE': 1}
    address = {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': port}
    # MMEngine would set these for all later tests.
    threads = {'OMP_NUM_THREADS': 1, 'MKL_NUM_THREADS': 1}
    for name, value in {**variables, **address, **threads}.items():
        monkeypatch.setenv(name, str(value))
    try:
        runner = make_runner(tmp_path, epochs=1, launcher='pytorch')
        runner.train()
        assert torch.distributed.get_backend() == 'gloo'
        assert isinstance(runner.model, nn.parallel.DistributedDataParallel)
    finally:
        torch.distributed.destroy_process_group()


def test_user_settings_of_the_wrapper_are_kept():
    config = {'model_wrapper_cfg': {'find_unused_parameters': True}}
    compat._wrap_on_cpu(config)
    assert config['model_wrapper_cfg'] == {
        'find_unused_parameters': True,
        'device_ids': None,
    }


def test_wrong_launchers_are_refused(monkeypatch):
    monkeypatch.setattr('mmengine.device.get_device', lambda: 'cpu')
    with pytest.raises(InputError, match='slurm` needs a GPU.*torchrun'):
        compat.init_distributed('slurm')
    monkeypatch.setenv('RANK', '0')
    for name in ('WORLD_SIZE', 'LOCAL_RANK'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match='LOCAL_RANK, WORLD_SIZE.*dist_tr'):
        compat.init_distributed('pytorch')
