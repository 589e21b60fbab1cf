"""Everything that patches the installed ``mm*`` stack, or refuses it.

The import hooks (:mod:`detnas_mm.compat.import_hooks`) act by themselves. The
functions here are called explicitly: :func:`setup_compat` by
``detnas_mm.registry``, :func:`init_distributed` by the command lines in
``tools/``.
"""

import functools
import os
from collections.abc import MutableMapping

from detnas_mm.compat import import_hooks
from detnas_mm.utils.errors import InputError


@functools.cache
def setup_compat() -> None:
    """Install the import hooks and make checkpoints loadable, once.

    Raises:
        ImportError: If torch or MMEngine cannot be imported. The message has
            the problems of the installed versions and the commands that fix
            them.
    """
    import_hooks.install()
    try:
        from mmengine.logging import history_buffer

        from detnas_mm.compat import safe_globals

        # The hook has not done this if MMEngine was imported first.
        safe_globals.allow_checkpoint_classes(history_buffer)
        safe_globals.forbid_unrestricted_loading()
    except Exception as error:  # a broken package may raise anything
        from detnas_mm.compat import versions

        problems = '\n'.join(map(str, versions.find_problems()))
        if not problems:
            raise
        raise ImportError(f'{error}\n{problems}') from error


def require_launched(launcher: str, remedy: str) -> None:
    """Refuse a process without a rank; ``remedy`` ends the message."""
    missing = {'RANK', 'WORLD_SIZE', 'LOCAL_RANK'} - set(os.environ)
    if missing:
        raise InputError(
            f'`--launcher {launcher}` needs {", ".join(sorted(missing))} in '
            f'the environment; {remedy}'
        )


def init_distributed(
    launcher: str, config: MutableMapping | None = None
) -> None:
    """Make ``--launcher`` work without a GPU; with one, do nothing.

    MMEngine calls ``torch.cuda.set_device`` on any machine, but uses a
    process group that already exists when the Runner is built. It also wraps
    the model for the GPU of the local rank unless the config sets
    ``device_ids``. So call this before the Runner is built, with its config.
    Its ``model_wrapper_cfg`` is set so that the model stays on the CPU.
    """
    if launcher == 'none':
        return

    from mmengine.device import get_device, utils
    from torch import distributed

    if get_device() == 'mps':
        # Its processes would share one GPU, with no way to communicate.
        utils.DEVICE = 'cpu'
    if get_device() != 'cpu':
        return
    if launcher != 'pytorch':
        raise InputError(
            f'`--launcher {launcher}` needs a GPU and torch finds none; start '
            'the processes with torchrun and use `--launcher pytorch`'
        )
    if config is not None:
        _wrap_on_cpu(config)
    require_launched(
        launcher,
        'start by tools/dist_train.sh or tools/dist_test.sh, or omit '
        '--launcher',
    )
    if not distributed.is_initialized():
        distributed.init_process_group(backend='gloo')


def _wrap_on_cpu(config: MutableMapping) -> None:
    """Set ``device_ids`` of the data-parallel wrapper to None."""
    from mmengine.registry import MODEL_WRAPPERS
    from torch.nn.parallel import DistributedDataParallel

    wrapper = config.get('model_wrapper_cfg')
    if wrapper is None:  # MMEngine's default
        unused = config.get('find_unused_parameters', False)
        wrapper = config['model_wrapper_cfg'] = {
            'type': 'MMDistributedDataParallel',
            'broadcast_buffers': False,
            'find_unused_parameters': unused,
        }
    name = wrapper.get('type', 'MMDistributedDataParallel')
    wrapper_type = MODEL_WRAPPERS.get(name) if isinstance(name, str) else name
    if issubclass(wrapper_type, DistributedDataParallel):
        config['model_wrapper_cfg'] = {'device_ids': None, **wrapper}
