"""Latencies belong to the right parts."""

import time

import pytest
import torch
from torch import nn

from detnas_mm.models.latency import (
    DeviceTimer,
    measure_parts,
    usable_device,
)
from detnas_mm.utils.errors import InputError

CPU = torch.device('cpu')


class Clock:
    """A clock that moves only by ``sleep``."""

    def __init__(self):
        self.now = 0

    def sleep(self, milliseconds):
        self.now += round(milliseconds * 1e6)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, 'perf_counter_ns', lambda: clock.now)
    return clock


def slow_down(module, clock, milliseconds):
    module.register_forward_hook(lambda *_: clock.sleep(milliseconds()))


IMAGES = torch.zeros(1, 3, 16, 16)


def test_parts_and_rest(clock):
    model = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Sigmoid(), nn.Tanh())
    for layer, cost in zip(model, (3, 5, 7, 11), strict=True):
        slow_down(layer, clock, lambda cost=cost: cost)
    wholes, parts = measure_parts(
        lambda: model(IMAGES),
        {'first': model[0], 'third': model[2]},
        CPU,
        rounds=4,
        warm_up=1,
    )
    assert wholes == [26] * 4
    assert parts == {'first': 3, 'third': 7, 'rest': 16}
    # The hooks that mark the parts are gone.
    assert all(len(layer._forward_hooks) == 1 for layer in model)
    assert not any(layer._forward_pre_hooks for layer in model)


def test_timer_measures_real_time():
    timer = DeviceTimer(CPU)
    timer.mark()
    time.sleep(0.02)
    timer.mark()
    timer.mark()
    slept, nothing = timer.intervals()
    assert slept >= 20
    assert nothing < slept
    assert timer.intervals() == []


def test_device_that_does_not_exist_is_refused(monkeypatch):
    for count, name, message in (
        (0, 'cuda', '--device cuda: torch finds no GPU; use --device cpu'),
        (0, 'cuda:0', 'no GPU; use --device cpu'),
        (2, 'cuda:2', '2 GPU, counted from 0; use --device cpu'),
        (2, '0:cuda', "cpu, got '0:cuda'"),
        (2, '', "cpu, got ''"),
    ):
        monkeypatch.setattr(torch.cuda, 'device_count', lambda n=count: n)
        with pytest.raises(InputError, match=f'{message}$'):
            usable_device(name)
    for name in ('cpu', 'cuda', 'cuda:0', 'cuda:1'):
        assert usable_device(name) == name
