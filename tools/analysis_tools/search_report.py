"""Make an HTML page of the results of a search, finished or running.

With the work dirs of several searches, such as evolution and random search,
the page also compares them in one chart. After tools/finalists.py, it shows
the even and the random network, too, and after tools/verdict.py how the found
network compares with them.
"""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from detnas_mm.cost import backbone_macs
from detnas_mm.structures import (
    PUBLISHED_PATHS,
    RECORD,
    SearchHeader,
    SearchRecord,
    get_search_space,
)
from detnas_mm.utils.cli import run_command
from detnas_mm.visualization import (
    Reference,
    Search,
    make_search,
    write_report,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'work_dirs',
        nargs='+',
        type=Path,
        metavar='WORK_DIR',
        help=f'work dir of a search, or the {RECORD} in it',
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='file of the page; its figures go to a folder of the same name '
        'without suffix (default: report.html in the first work dir)',
    )
    return parser.parse_args()


def read_searches(work_dirs: Sequence[Path], out: Path) -> list[Search]:
    """Read the record of each search, for a page in a file."""
    names = [folder.resolve().name for folder in work_dirs]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in work_dirs]
    searches = []
    for name, folder in zip(names, work_dirs, strict=True):
        record = SearchRecord.read(folder)
        references = published_references(record.header)
        references += baseline_references(folder, record.header)
        search = make_search(name, record, references)
        searches.append(with_verdict(search, folder.parent, out.parent))
    return searches


def with_verdict(search: Search, folder: Path, page_folder: Path) -> Search:
    """Add what tools/verdict.py wrote into a folder, if it did."""
    file = folder / 'verdict.json'
    if not file.is_file():
        return search
    page = Path(os.path.relpath(file.with_suffix('.html'), page_folder))
    sentences = json.loads(file.read_text())['sentences']
    return replace(
        search, verdict=tuple(sentences), verdict_page=page.as_posix()
    )


def published_references(header: SearchHeader) -> list[Reference]:
    """Return the published backbones in the search space of a search."""
    own_space = get_search_space(header.search_space)
    size = tuple(header.constraint.get('input_size', (224, 224)))
    references = []
    for name, (space_name, digits) in PUBLISHED_PATHS.items():
        space = get_search_space(space_name)
        if space == own_space:
            path = space.parse(digits)
            macs = backbone_macs(space, path, size)
            references.append(Reference(name, path, macs))
    return references


def baseline_references(
    work_dir: Path, header: SearchHeader
) -> list[Reference]:
    """Return the even and the random network of tools/finalists.py."""
    folder = work_dir / 'finalists'
    file = folder / 'nets.json'
    if not file.is_file():
        return []
    trained = {c.path: c for c in SearchRecord.read(folder).candidates}
    space = get_search_space(header.search_space)
    references = []
    for digits, role in json.loads(file.read_text()).items():
        net = trained.get(digits)
        if net and net.fitness is not None and role in ('even', 'random'):
            name = f'{role} network, {net.fitness:.4f} when trained'
            path = space.parse(digits)
            references.append(Reference(name, path, net.macs))
    return references


def main() -> None:
    args = parse_args()
    work_dirs = [
        path.parent if path.name == RECORD else path for path in args.work_dirs
    ]
    out = args.out or work_dirs[0] / 'report.html'
    searches = read_searches(work_dirs, out)
    page, *figures = write_report(searches, out)
    print(f'{page}: open it in a browser')
    if figures:
        print(f'{figures[0].parent}: {len(figures)} files of figures')


if __name__ == '__main__':
    run_command(main)
