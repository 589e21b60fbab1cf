"""Backbones that the authors published with their code."""

from collections.abc import Mapping

# Name -> (search space, digits of the path).
PUBLISHED_PATHS: Mapping[str, tuple[str, str]] = {
    'detnas_fpn_300m': ('small', '2120 2112 33130031 3132'),
    'detnas_retinanet_300m': ('small', '2311 3213 31113320 3333'),
    'detnasnet_1.3g': (
        'large',
        '00312102 03123320 2113202221310333 13333333',
    ),
    'detnasnet_3.8g': (
        'large_3.8g',
        '00312102 03123320 2113202221310333 13333333',
    ),
}
