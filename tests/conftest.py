"""Settings of all tests: the shared kit is importable as ``kit``."""

import logging

from hypothesis import Phase, settings

# Not every machine is fast, and a failing build must fail again.
settings.register_profile(
    'detnas',
    deadline=None,
    max_examples=20,
    derandomize=True,
    # Explaining a failure traces every line, which takes minutes in torch.
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
settings.load_profile('detnas')
# Loggers of earlier tests have the standard error of those, which is closed.
logging.raiseExceptions = False


def pytest_addoption(parser):
    """How often the slow test kills a search."""
    parser.addoption('--kills', type=int, default=20)
