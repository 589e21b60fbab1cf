"""Workers of Ray that die, hang, cannot be built, come and go."""

import logging
import threading
import time

import pytest
from kit.scoring import (
    PATHS,
    Faulty,
    SickFirst,
    Waiting,
    attempts,
    cannot_be_built,
    facts,
    local_evaluator,
)

from detnas_mm.executors import ray_workers as module
from detnas_mm.executors.ray import RayEvaluator
from detnas_mm.executors.ray_cluster import RaySettings

SOME = PATHS[:6]


@pytest.fixture(autouse=True)
def impatience(monkeypatch):
    """Does not wait before a worker is built again."""
    monkeypatch.setattr(module, '_REBUILD_SECONDS', 0.0)


@pytest.fixture
def log(tmp_path):
    return tmp_path / 'log'


@pytest.fixture(scope='module')
def expected():
    return facts(local_evaluator().evaluate(SOME))


def evaluate(build, **settings):
    settings = dict(workers=2) | settings
    with RayEvaluator(build, RaySettings(**settings)) as evaluator:
        return list(evaluator.evaluate(SOME))


@pytest.mark.parametrize(
    ('fault', 'settings'),
    [
        ('die', {}),
        pytest.param(
            'hang',
            dict(candidate_timeout=20),
            # No worker may take so long because others use the machine.
            marks=pytest.mark.slow,
        ),
    ],
)
def test_worker_lost_over_a_candidate_is_replaced(
    ray_cluster, log, expected, caplog, fault, settings
):
    caplog.set_level(logging.WARNING)
    build = Faulty(str(log), SOME[3], fault, times=1)
    assert facts(evaluate(build, **settings)) == expected
    assert attempts(log).count(SOME[3]) == 2
    reason = {'die': 'died', 'hang': 'took longer than 20 s'}[fault]
    # On a busy machine, Ray may lose others as well.
    assert any(
        reason in warning and 'another one takes its place' in warning
        for warning in caplog.messages
    )


@pytest.mark.slow
def test_sick_worker_is_replaced(ray_cluster, tmp_path, caplog):
    """Whatever it fails another one evaluates."""
    caplog.set_level(logging.WARNING)
    build = SickFirst(str(tmp_path / 'sick'))
    with RayEvaluator(build, RaySettings(workers=2)) as evaluator:
        found = facts(evaluator.evaluate(PATHS))
    expected = facts(local_evaluator().evaluate(PATHS))
    assert [one[0] for one in found] == [one[0] for one in expected]
    assert 'others could evaluate; another one takes its place' in caplog.text


@pytest.mark.slow
def test_candidate_that_kills_every_worker_fails(ray_cluster, log, expected):
    """Out of memory, say: the others are evaluated all the same."""
    build = Faulty(str(log), SOME[3], 'die', times=99)
    evaluations = evaluate(build)
    assert '3 workers in a row: the last died' in evaluations[3].error
    assert facts(evaluations[:3]) == expected[:3]
    assert facts(evaluations[4:]) == expected[4:]
    assert attempts(log).count(SOME[3]) == 3


def test_workers_that_cannot_be_built_end_the_search(ray_cluster):
    """Not by waiting for ever, and not by the first one."""
    with pytest.raises(RuntimeError, match='3 workers in a row') as error:
        evaluate(cannot_be_built, workers=1)
    assert 'FileNotFoundError: no checkpoint at supernet.pth' in str(
        error.value
    )
    assert '\n' not in str(error.value)


@pytest.fixture
def nodes(ray):
    """A cluster whose nodes come and go; its head has no room."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args=dict(num_cpus=0, num_gpus=0, include_dashboard=False),
    )
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.slow
def test_nodes_come_and_go(nodes, log, caplog, monkeypatch):
    """Without any worker the search waits; nodes that join are used."""
    monkeypatch.setattr(module, '_MESSAGE_SECONDS', 2.0)
    caplog.set_level(logging.WARNING)
    settings = RaySettings(address=nodes.address)
    evaluations = []

    def wait_for(condition):
        end = time.monotonic() + 300
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.1)

    def workers():
        return set(log.read_text().split()) if log.exists() else set()

    def search():
        build = Waiting(str(log), f'{log}.release')
        with RayEvaluator(build, settings) as evaluator:
            evaluations.extend(evaluator.evaluate(SOME))

    thread = threading.Thread(target=search)
    thread.start()
    wait_for(lambda: 'No worker is there' in caplog.text)
    first = nodes.add_node(num_cpus=1)
    wait_for(lambda: len(workers()) == 1)
    second = nodes.add_node(num_cpus=1)
    wait_for(lambda: len(workers()) == 2)
    caplog.clear()
    nodes.remove_node(first)
    nodes.remove_node(second)
    wait_for(lambda: 'No worker is there' in caplog.text)
    assert 'died' in caplog.text
    log.with_suffix('.release').touch()
    nodes.add_node(num_cpus=1)
    thread.join(300)
    assert facts(evaluations) == facts(local_evaluator().evaluate(SOME))
    assert len(workers()) == 3
