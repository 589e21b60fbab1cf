"""OpenMMLab's metafiles: a model is added, the rest stays as it is."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

import yaml

from detnas_mm.models.exact_costs import exact_cost_table
from detnas_mm.structures import SearchSpace, space_name
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import write_atomically

_INPUT_SIZE = (224, 224)
_COLLECTION = 'DetNAS'


@dataclass(frozen=True, kw_only=True)
class MetafileEntry:
    """What is known of a published model. ``None`` leaves a field alone.

    Attributes:
        name: Name of the model.
        weights: Name or address of the file of its weights.
        search_space: The search space.
        path: The path; ``None`` for a supernet.
        shuffle: Channel shuffle.
        collection: Name of the collection it belongs to.
        config: ArchPath of the config.
        task: Task of the metrics. Defaults to that of the entry's first
            results, else ``'Object Detection'``.
        dataset: Data set of the metrics. Defaults like the task, else
            ``'COCO'``.
        metrics: Measured results by name, such as ``{'box AP': 36.6}``.
    """

    name: str
    weights: str
    search_space: SearchSpace
    path: Sequence[int] | None
    shuffle: str
    collection: str | None = None
    config: str | None = None
    task: str | None = None
    dataset: str | None = None
    metrics: Mapping[str, float] | None = None

    def merged_into(self, old: Mapping) -> dict:
        """Returns an entry of a metafile with what is known put into it."""
        entry = {'Name': self.name, 'In Collection': _COLLECTION, **old}
        if self.collection is not None:
            entry['In Collection'] = self.collection
        if self.config is not None:
            entry['Config'] = self.config
        entry['Metadata'] = {**(entry.get('Metadata') or {})}
        entry['Metadata'] |= self._metadata()
        if self.metrics:
            source = entry['Metadata'].get('Source of Results', '')
            entry['Metadata']['Source of Results'] = _with_measured(source)
            entry['Results'] = self._results(entry.get('Results') or [])
        entry['Weights'] = self.weights
        return entry

    def _metadata(self) -> dict:
        space = self.search_space
        metadata = {
            'Search Space': space_name(space) or space.to_dict(),
            'Shuffle': self.shuffle,
        }
        if self.path is None:
            return metadata
        table = exact_cost_table(space, _INPUT_SIZE)
        return metadata | {
            'ArchPath': space.format_stages(self.path),
            'Backbone FLOPs': table.macs(self.path),
            'Backbone Parameters': table.params(self.path),
        }

    def _results(self, old: Sequence[Mapping]) -> list[dict]:
        """Puts the metrics beside others of their task and data set."""
        first = old[0] if old else {}
        task = self.task or first.get('Task', 'Object Detection')
        dataset = self.dataset or first.get('Dataset', 'COCO')
        results = [dict(result) for result in old]
        for result in results:
            if (result.get('Task'), result.get('Dataset')) == (task, dataset):
                result['Metrics'] = {**result['Metrics'], **self.metrics}
                return results
        measured = dict(self.metrics)
        return [
            *results,
            {'Task': task, 'Dataset': dataset, 'Metrics': measured},
        ]


def write_metafile_entry(
    metafile: str | os.PathLike, entry: MetafileEntry
) -> None:
    """Adds a model to a metafile, or merges it into that of its name.

    Only the text of this model changes: comments beside it stay.

    Raises:
        InputError: If the file is no metafile, or has not the collection.
    """
    metafile = Path(metafile)
    if not metafile.exists():
        fields = entry.merged_into({})
        collection = {'Name': fields['In Collection']}
        content = {'Collections': [collection], 'Models': [fields]}
        write_atomically(metafile, _dump(content))
        return
    text = metafile.read_text()
    models, content = _read_models(text, metafile)
    names = [model.get('Name') for model in content['Models']]
    collections = [one['Name'] for one in content.get('Collections', ())]
    known = entry.name in names
    index = names.index(entry.name) if known else -1
    old = content['Models'][index] if known else {'Name': entry.name}
    if len(collections) == 1:
        old.setdefault('In Collection', collections[0])
    fields = entry.merged_into(old)
    if collections and fields['In Collection'] not in collections:
        raise InputError(
            f'{metafile} has no collection {fields["In Collection"]!r}, but '
            f'{", ".join(collections)}: give one of them as --collection'
        )
    node = models.value[index]
    margin = ' ' * node.start_mark.column
    block = indent(_dump(fields), margin).strip()
    start, end = node.start_mark.index, _end_of(node, text)
    if not known:
        dash = ' ' * models.start_mark.column + '-'
        block = f'\n\n{dash.ljust(len(margin))}{block}'
        start = end = end + len(text[end:].partition('\n')[0])
    write_atomically(metafile, text[:start] + block + text[end:])


def _read_models(text: str, metafile: Path) -> tuple[yaml.SequenceNode, dict]:
    """Returns the node of the list of models, and all of the content."""
    try:
        content = yaml.safe_load(text)
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        reason = ' '.join(str(error).split())
        raise InputError(f'{metafile} is no YAML: {reason}') from error
    models = content.get('Models') if isinstance(content, dict) else None
    if not isinstance(models, list) or not all(
        isinstance(one, dict) for one in models or [None]
    ):
        raise InputError(
            f'{metafile} is no metafile: expected a list of `Models` in it'
        )
    (found,) = (value for key, value in node.value if key.value == 'Models')
    if found.flow_style or any(one.flow_style for one in found.value):
        raise InputError(
            f'the `Models` of {metafile} must be written in lines of '
            '`- Name: ...`, not in brackets'
        )
    return found, content


def _end_of(node: yaml.Node, text: str) -> int:
    """Returns where the text of a node ends; comments behind it do not count.

    A block's own end is where the next one begins.
    """
    while isinstance(node, yaml.CollectionNode) and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return len(text[: node.end_mark.index].rstrip())


def _with_measured(source: str) -> str:
    """Says where results come from, now that there are measured ones."""
    if not source.startswith('paper'):
        return 'measured'
    return f'measured; those named (paper): {source.partition(";")[0]}'


class _Dumper(yaml.SafeDumper):
    """Indents lists as OpenMMLab's metafiles do."""

    def increase_indent(
        self, flow: bool = False, indentless: bool = False
    ) -> None:
        """Never leaves the indentation of a list out."""
        super().increase_indent(flow, indentless=False)


def _dump(content: Mapping) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=79)
