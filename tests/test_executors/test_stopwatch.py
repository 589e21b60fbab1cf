"""Time by part."""

from detnas_mm.executors.stopwatch import Stopwatch


def test_laps_add_up_to_all_of_the_time(monkeypatch):
    times = iter([10.0, 11.0, 13.0, 13.5, 20.0, 20.25])
    monkeypatch.setattr('time.perf_counter', lambda: next(times))
    stopwatch = Stopwatch()
    assert stopwatch.seconds == {}
    stopwatch.start()
    for part in ('reading', 'inference', 'reading'):
        stopwatch.lap(part)
    assert stopwatch.seconds == {'reading': 1.5, 'inference': 2.0}
    stopwatch.start()
    stopwatch.lap('metric')
    assert stopwatch.seconds == {'metric': 0.25}
