"""Makes the installed ``mm*`` stack fit for use, or says why it is not.

The import hooks (:mod:`detnas_mm.compat.import_hooks`) act by themselves; the
two functions here are called: :func:`setup_compat` by ``detnas_mm.registry``,
:func:`init_distributed` by the command lines in ``tools/``.
"""

import functools
import os
import warnings
from collections.abc import MutableMapping

from detnas_mm.compat import import_hooks
from detnas_mm.compat import versions
from detnas_mm.utils.errors import InputError

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


@functools.cache
def setup_compat() -> None:
    """Check the installed versions and make loading of checkpoints work.

    Runs once per process.

    Raises:
        ImportError: If the installed versions cannot work together; the
            message holds the command that mends it.
    """
    import_hooks.install()
    problems = versions.find_problems()
    for problem in problems:
        if problem.fatal:
            raise ImportError(str(problem))
    if problems:
        texts = '; '.join(problem.text for problem in problems)
        warnings.warn(
            f'{texts} (python -m detnas_mm.check_env says how to change it)',
            stacklevel=2,
        )

    # Imported here, after the check: this fails without a working torch.
    from mmengine.logging import history_buffer

    from detnas_mm.compat import safe_globals

    # The hook has done it already unless MMEngine was imported before us.
    safe_globals.allow_checkpoint_classes(history_buffer)
    safe_globals.forbid_unrestricted_loading()


def require_launched(launcher: str, remedy: str) -> None:
    """Makes sure that the launcher has said which process this is.

    Args:
        launcher: The ``--launcher`` of the command line.
        remedy: What to do if it has not.

    Raises:
        InputError: If it has not.
    """
    missing = {'RANK', 'WORLD_SIZE', 'LOCAL_RANK'} - set(os.environ)
    if missing:
        raise InputError(
            f'`launcher` {launcher!r} did not set '
            f'{", ".join(sorted(missing))}; {remedy}'
        )


def init_distributed(
    launcher: str, config: MutableMapping | None = None
) -> None:
    """Make ``--launcher`` work without a GPU; with one, do nothing.

    MMEngine calls ``torch.cuda.set_device`` whatever the machine has, but
    takes over a process group that exists when the Runner is built; and it
    wraps the model for the GPU of the local rank unless the config says
    otherwise. So this is called before the Runner is built, with its config.

    Args:
        launcher: The ``--launcher`` of the command line.
        config: The config of the Runner; its ``model_wrapper_cfg`` is set so
            that the model stays on the CPU.

    Raises:
        InputError: If the launcher is unknown or cannot run without a GPU.
    """
    if launcher not in LAUNCHERS:
        raise InputError(
            f'`launcher` must be one of {", ".join(LAUNCHERS)}, got '
            f'{launcher!r}'
        )
    if launcher == 'none':
        return

    from mmengine.device import get_device
    from torch import distributed

    if get_device() != 'cpu':
        return
    if launcher != 'pytorch':
        raise InputError(
            f'`launcher` {launcher!r} needs a GPU and torch sees none; start '
            'the processes with torchrun and use `--launcher pytorch`'
        )
    if config is not None:
        _wrap_on_cpu(config)
    require_launched(
        launcher,
        'start by tools/dist_train.sh or tools/dist_test.sh, or leave '
        '--launcher out',
    )
    if not distributed.is_initialized():
        distributed.init_process_group(backend='gloo')


def _wrap_on_cpu(config: MutableMapping) -> None:
    """Set the data-parallel wrapper's ``device_ids`` to None."""
    from mmengine.registry import MODEL_WRAPPERS
    from torch.nn.parallel import DistributedDataParallel

    wrapper = config.get('model_wrapper_cfg')
    if wrapper is None:  # what MMEngine takes then
        wrapper = config['model_wrapper_cfg'] = {
            'type': 'MMDistributedDataParallel',
            'broadcast_buffers': False,
            'find_unused_parameters': config.get(
                'find_unused_parameters', False
            ),
        }
    name = wrapper.get('type', 'MMDistributedDataParallel')
    wrapper_type = MODEL_WRAPPERS.get(name) if isinstance(name, str) else name
    if issubclass(wrapper_type, DistributedDataParallel):
        config['model_wrapper_cfg'] = {'device_ids': None, **wrapper}
