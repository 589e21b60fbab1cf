"""Settings of the embedded data set."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from detnas_mm.utils.errors import InputError


def _setting(default: int, meaning: str) -> Any:
    return field(default=default, metadata={'help': meaning})


@dataclass(frozen=True, kw_only=True)
class DigitsSettings:
    """Settings that define the content of the data set.

    With a larger number of images, the images of the smaller number stay the
    same and others are added.
    """

    seed: int = _setting(0, 'decides the splits and every image')
    image_size: int = _setting(128, 'side of an image in pixels')
    max_digits: int = _setting(8, 'digits of an image, at most')
    min_height: int = _setting(20, 'height of the smallest digits in pixels')
    max_height: int = _setting(48, 'height of the largest digits in pixels')
    train_images: int = _setting(3000, 'images of the training split')
    search_images: int = _setting(400, 'images of the search split')
    test_images: int = _setting(600, 'images of the test split')
    train_crops: int = _setting(400, 'training crops of each class')
    val_crops: int = _setting(100, 'validation crops of each class')

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            minimum = 0 if name == 'seed' else 1
            if value < minimum:
                raise InputError(
                    f'`{name}` must be at least {minimum}, but got {value}'
                )
        if not self.min_height <= self.max_height <= self.image_size:
            raise InputError(
                '`min_height`, `max_height` and `image_size` must ascend, but '
                f'got {self.min_height}, {self.max_height}, {self.image_size}'
            )


def setting_help() -> dict[str, tuple[int, str]]:
    """Return default and meaning of every setting, for a command line."""
    return {
        f.name: (f.default, f.metadata['help']) for f in fields(DigitsSettings)
    }
