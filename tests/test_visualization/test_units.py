"""Numbers as people read them."""

import pytest

from detnas_mm.visualization.units import duration, magnitude, time_unit


@pytest.mark.parametrize(
    ('number', 'text'),
    [
        (288_082_368, '288M'),
        (38_600_000, '38.6M'),
        (1_269_181_536, '1.27G'),
        (154_880, '155k'),
        (7, '7'),
        (0, '0'),
    ],
)
def test_magnitude_keeps_three_digits(number, text):
    assert magnitude(number) == text


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [
        (0.04, '0.0 s'),
        (59.94, '59.9 s'),
        (200, '3 min 20 s'),
        (3600 + 120, '1 h 2 min'),
        (20 * 86400, '20.0 days'),
    ],
)
def test_duration_has_its_units(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ('longest', 'unit'),
    [
        (0, (1, 's')),
        (119, (1, 's')),
        (1700, (60, 'min')),
        (7200, (3600, 'h')),
    ],
)
def test_axis_of_durations_has_small_numbers(longest, unit):
    assert time_unit(longest) == unit
