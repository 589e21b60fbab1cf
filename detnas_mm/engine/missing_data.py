"""One line for data that are not there: how to get them."""

import re
from pathlib import Path

# What a tool makes: the end of the path of such a file, from the last folder
# of its data root on, and the command. The other data sets have a root of
# any name.
_TOOLS = 'python tools/dataset_converters'
_COCO = r'.*/annotations/detnas_\w+'
_MAKERS = {
    r'digits/(annotations/instances_\w+\.json|classification(/.*)?)': (
        f'{_TOOLS}/digits.py --out {{root}}'
    ),
    rf'{_COCO}2017\.json': f'{_TOOLS}/coco_search_split.py {{root}}',
    rf'{_COCO}2014\.json|.*/annotations/instances_minival2014\.json': (
        f'{_TOOLS}/coco_search_split.py {{root}} --year 2014'
    ),
    rf'{_COCO}\.json': (
        f'{_TOOLS}/coco_search_split.py {{root}} --name NAME ..., see '
        'docs/own_data.md'
    ),
    r'.*/VOC20\d\d/ImageSets/Main/detnas_\w+\.txt': (
        f'{_TOOLS}/voc_search_split.py {{root}}'
    ),
    r'.*/meta/detnas_\w+\.txt': (
        f'{_TOOLS}/imagenet_search_split.py {{root}}'
    ),
}
HOW_TO_GET_COCO = (
    '; COCO is downloaded as in https://mmdetection.readthedocs.io/en/latest/'
    'user_guides/dataset_prepare.html'
)
# A file in one of the folders that a data root has: the root, and the rest.
_IN_ROOT = r'(.*)/((?:annotations|classification|meta|VOC20\d\d)(?:/.*)?)'


def missing_file(
    file: str, key: str = 'train_dataloader.dataset.data_root'
) -> str:
    """Says that a file of the data is not there, and how to get it.

    Args:
        file: The file.
        key: The setting of the config that leads to it.
    """
    found = re.fullmatch(_IN_ROOT, file)
    root, inside = found.groups() if found else (file, '')
    for pattern, command in _MAKERS.items():
        if re.fullmatch(pattern, f'{Path(root).name}/{inside}'):
            command = command.format(root=root)
            return f'no such file or folder: {file}; make it by `{command}`'
    if re.fullmatch(r'detnas_\w+\.json', Path(file).name):
        return (
            f'no such file or folder: {file}; make it by '
            f'`{_TOOLS}/coco_search_split.py DATA_ROOT --name NAME ...`, see '
            'docs/own_data.md'
        )
    return (
        f'no such file or folder: {file}; set {key} in the config, or by '
        f'--cfg-options {key}=..., to where your data are'
        f'{HOW_TO_GET_COCO if Path(root).name == "coco" else ""}'
    )
