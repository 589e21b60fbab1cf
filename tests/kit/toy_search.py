"""A search that takes milliseconds: a toy classifier on random images."""

import itertools

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.runner import Runner
from torch.utils.data import Dataset

from detnas_mm.engine import BNRecalibrationHook
from detnas_mm.registry import EXECUTORS

from .models import ToyClassifier, supernet
from .spaces import FOUR_BLOCKS

_run_number = itertools.count()
METRIC = 'toy/score'


class ToyImages(Dataset):
    """Images of noise, to which each reading adds more if ``noise`` is set."""

    def __init__(self, size=8, noise=0.0):
        self.size = size
        self.noise = noise

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        rng = torch.Generator().manual_seed(index)
        image = torch.randn(3, 16, 16, generator=rng)
        if self.noise:
            noise = np.random.randn(3, 16, 16).astype(np.float32)
            image += self.noise * torch.from_numpy(noise)
        return dict(inputs=image, labels=index % 3)


class ToyMetric(BaseMetric):
    """Mean probability of the right class.

    Args:
        wrap: Changes the metrics; called once for each validation.
    """

    default_prefix = 'toy'

    def __init__(self, wrap=lambda metrics: metrics):
        super().__init__()
        self.wrap = wrap
        self.calls = 0

    def process(self, data_batch, data_samples):
        for scores, label in zip(
            data_samples, data_batch['labels'], strict=True
        ):
            self.results.append(scores.softmax(0)[label].item())

    def compute_metrics(self, results):
        self.calls += 1
        score = sum(results) / len(results)
        return self.wrap(dict(score=score, other=1 - score))


@EXECUTORS.register_module()
class AnyOrder:
    """Evaluates all that it may, and yields the results in random order."""

    def __init__(self, evaluate, order=0):
        self.evaluate = evaluate
        self.rng = np.random.default_rng(order)
        self.results = {}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def run(self, paths, ahead=()):
        for path in (*paths, *ahead):
            if path not in self.results:
                self.results[path] = self.evaluate(path)
        missing = set(paths)
        while missing:
            path = tuple(map(int, self.rng.choice(list(self.results))))
            missing.discard(path)
            yield path, self.results.pop(path)


def loader_config(**dataset):
    return dict(
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(type=ToyImages, **dataset),
        collate_fn=dict(type='default_collate'),
    )


def toy_checkpoint(file, seed=0):
    """Saves random weights of the toy classifier, if the file is missing."""
    if not file.exists():
        torch.manual_seed(seed)
        model = ToyClassifier(supernet(FOUR_BLOCKS, seed=seed))
        torch.save(dict(state_dict=model.state_dict()), file)
    return file


def toy_model(**backbone):
    """The toy classifier, to be built from a config."""
    return ToyClassifier(supernet(FOUR_BLOCKS, seed=1, **backbone))


def toy_config(work_dir, checkpoint, **search):
    """The config of the same search, for processes that build it again."""
    algorithm = dict(type='Evolution', population=4, parents=2)
    settings = dict(metric=METRIC, generations=3, algorithm=algorithm)
    loader = loader_config() | dict(dataset=dict(type=f'{__name__}.ToyImages'))
    return Config(
        dict(
            model=dict(type=f'{__name__}.toy_model'),
            work_dir=str(work_dir),
            load_from=str(checkpoint),
            train_dataloader=loader,
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            val_dataloader=loader,
            val_evaluator=dict(type=f'{__name__}.ToyMetric'),
            val_cfg=dict(
                type='detnas_mm.EvolutionSearchLoop', **(settings | search)
            ),
            custom_hooks=[
                dict(type='detnas_mm.BNRecalibrationHook', num_images=8)
            ],
            default_hooks=dict(checkpoint=None),
            default_scope='detnas_mm',
        )
    )


def toy_runner(
    work_dir,
    scorer=None,
    hooks=None,
    checkpoint=None,
    num_workers=0,
    images=8,
    norm='BN',
    **search,
):
    """Returns the Runner of a search of 3 generations of 4 paths."""
    work_dir.mkdir(exist_ok=True)
    if checkpoint is None:
        checkpoint = toy_checkpoint(work_dir.parent / 'toy.pth')
    if hooks is None:
        hooks = [BNRecalibrationHook(num_images=8)]
    config = toy_config(work_dir, checkpoint, **search)
    loader = loader_config(size=images) | dict(
        num_workers=num_workers, persistent_workers=num_workers > 0
    )
    number = next(_run_number)
    return Runner(
        toy_model(norm_cfg=dict(type=norm)),
        work_dir=str(work_dir),
        cfg=dict(train_dataloader=loader, load_from=str(checkpoint)),
        load_from=str(checkpoint),
        val_dataloader=loader,
        val_evaluator=Evaluator(scorer or ToyMetric()),
        val_cfg=config.val_cfg.to_dict(),
        custom_hooks=hooks,
        default_hooks=dict(checkpoint=None),
        experiment_name=f'toy{number}',
        log_level='WARNING',
        default_scope='detnas_mm',
    )
