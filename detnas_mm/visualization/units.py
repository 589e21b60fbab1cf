"""Numbers as people read them."""


def magnitude(number: float) -> str:
    """Writes a large number with its magnitude, such as ``288M``.

    Three digits are kept, four from 1000 of a magnitude on.
    """
    for size, letter in ((1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
        if abs(number) >= size:
            return f'{_three_digits(number / size)}{letter}'
    return f'{number:g}'


def _three_digits(number: float) -> str:
    decimals = 2 if number < 10 else 1 if number < 100 else 0
    return f'{number:.{decimals}f}'


def time_unit(seconds: float) -> tuple[int, str]:
    """Returns the unit for an axis of durations, in seconds, and its name.

    Args:
        seconds: The longest duration.
    """
    for size, name in ((3600, 'h'), (60, 'min')):
        if seconds >= 2 * size:
            return size, name
    return 1, 's'


def duration(seconds: float) -> str:
    """Writes a duration with its units, such as ``3 min 20 s``."""
    if seconds < 60:
        return f'{seconds:.1f} s'
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f'{minutes} min {rest} s'
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f'{hours} h {minutes} min'
    return f'{hours / 24:.1f} days'
