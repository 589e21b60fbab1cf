"""A toy classifier around a supernet, and batches for it."""

import torch
from mmengine.model import BaseModel
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from detnas_mm.models import DetNASNet, DetNASSupernet
from detnas_mm.structures import get_search_space


class ToyClassifier(BaseModel):
    """A backbone, global average pooling and a linear classifier."""

    def __init__(self, backbone, num_classes=3):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.out_channels[-1], num_classes)

    def forward(self, inputs, labels=None, mode='tensor'):
        scores = self.head(self.backbone(inputs)[-1].mean(dim=(2, 3)))
        if mode == 'loss':
            return dict(loss=nn.functional.cross_entropy(scores, labels))
        return scores


def toy_batch(num_images, seed, size=(16, 16)):
    """A batch as the toy classifier takes it."""
    rng = torch.Generator().manual_seed(seed)
    return dict(
        inputs=torch.randn(num_images, 3, *size, generator=rng),
        labels=torch.randint(3, (num_images,), generator=rng),
    )


def randomized(module, seed=0):
    """Gives all weights and BN statistics values unlike the initial ones."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for param in module.parameters():
            param.normal_(0, 0.3, generator=rng)
        for layer in module.modules():
            if isinstance(layer, _BatchNorm):
                if layer.affine:
                    layer.weight.uniform_(0.5, 1.5, generator=rng)
                layer.running_mean.normal_(0, 0.5, generator=rng)
                layer.running_var.uniform_(0.5, 2, generator=rng)
    return module


def all_stages(space):
    """Indices of all stages; those of the backbones default to four."""
    return tuple(range(len(get_search_space(space).stage_blocks)))


def supernet(space, path=None, seed=0, **settings):
    """A supernet with random weights and statistics."""
    settings = dict(out_indices=all_stages(space)) | settings
    net = randomized(DetNASSupernet(space, **settings), seed)
    if path is not None:
        net.set_path(path)
    return net


def searched(space, path, seed=0, **settings):
    """A searched backbone with random weights and statistics."""
    settings = dict(out_indices=all_stages(space)) | settings
    return randomized(DetNASNet(path, space, **settings), seed)


def copies(state_dict):
    """The state dict, independent of what happens to the model."""
    return {key: value.clone() for key, value in state_dict.items()}


def changed_keys(before, after):
    """Keys whose values are not bit for bit the same."""
    assert before.keys() == after.keys()
    return {key for key in before if not torch.equal(before[key], after[key])}
