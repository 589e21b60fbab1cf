"""Merges parameter groups that have equal settings."""

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from detnas_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MergedGroupsConstructor(DefaultOptimWrapperConstructor):
    """Puts parameters with equal settings into one group.

    With a ``paramwise_cfg`` MMEngine makes a group of each parameter, and
    PyTorch's optimizers go through all groups in every step, also those of
    the choices that a path does not take. Set it by
    ``optim_wrapper=dict(constructor='detnas_mm.MergedGroupsConstructor')``.
    The training is the same; the optimizer's state in a checkpoint is that of
    these groups.
    """

    def add_params(
        self,
        params: list[dict],
        module: nn.Module,
        prefix: str = '',
        is_dcn_module: int | float | None = None,
    ) -> None:
        """Adds the groups of a module's parameters to ``params``."""
        super().add_params(params, module, prefix, is_dcn_module)
        if not prefix:
            params[:] = merge_groups(params)


def merge_groups(groups: list[dict]) -> list[dict]:
    """Merges groups with equal settings, in the order of the first ones.

    A parameter that several modules share stays in its first group.
    """
    merged: dict[tuple, dict] = {}
    known: set[int] = set()
    for group in groups:
        settings = {k: v for k, v in group.items() if k != 'params'}
        key = tuple(sorted((name, repr(v)) for name, v in settings.items()))
        merged.setdefault(key, {'params': [], **settings})
        new = [param for param in group['params'] if id(param) not in known]
        merged[key]['params'] += new
        known.update(map(id, new))
    return list(merged.values())
