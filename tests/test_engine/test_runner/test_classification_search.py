"""A search under mmpretrain: the paper's ClsNASNet."""

import torch
from kit.digits_runs import load_config, run_search
from mmengine.runner import Runner

STAGE_1 = 'digits/detnas-supernet-tiny_digits-cls'


def test_search_for_the_best_classifier(digits, tmp_path):
    config = load_config(STAGE_1, digits, tmp_path)
    config.val_cfg = dict(
        type='detnas_mm.EvolutionSearchLoop',
        metric='accuracy/top1',
        generations=1,
        algorithm=dict(type='Evolution', population=2, parents=1),
    )
    weights = tmp_path / 'weights.pth'
    model = Runner.from_cfg(config).model
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), weights)
    config.experiment_name += '_search'
    config.load_from = str(weights)
    candidates = run_search(config)
    assert len(candidates) == 2
    # The split has 30 crops: the accuracy is a multiple of 1/30, in percent.
    for candidate in candidates:
        assert candidate['status'] == 'complete'
        assert candidate['fitness'] == candidate['metrics']['accuracy/top1']
        hits = candidate['fitness'] * 30 / 100
        assert abs(hits - round(hits)) < 1e-4
    best = (tmp_path / 'best_backbone.py').read_text()
    assert 'accuracy/top1' in best
