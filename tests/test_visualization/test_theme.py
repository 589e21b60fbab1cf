"""Numbers as text."""

import pytest

from detnas_mm.visualization.theme import duration, magnitude, time_unit


@pytest.mark.parametrize(
    ('function', 'texts'),
    [
        (
            magnitude,
            {
                288_082_368: '288M',
                38_600_000: '38.6M',
                1_269_181_536: '1.27G',
                154_880: '155k',
                7: '7',
                0: '0',
            },
        ),
        (
            duration,
            {
                0.04: '0.0 s',
                59.94: '59.9 s',
                200: '3 min 20 s',
                3600 + 120: '1 h 2 min',
                20 * 86400: '20.0 days',
            },
        ),
        (
            time_unit,
            {0: (1, 's'), 119: (1, 's'), 1700: (60, 'min'), 7200: (3600, 'h')},
        ),
    ],
)
def test_numbers_have_three_digits_and_a_unit(function, texts):
    assert {number: function(number) for number in texts} == texts
