"""The table of faults: each is made to happen by a test that there is."""

import re

from kit.digits_runs import ROOT

PAGE = (ROOT / 'docs' / 'reliability.md').read_text()
NAME = re.compile(r'`(test_\w+)`')


def test_tests_that_are_named_exist():
    named = set(NAME.findall(PAGE))
    code = '\n'.join(
        file.read_text() for file in (ROOT / 'tests').rglob('test_*.py')
    )
    assert len(named) > 40
    assert not [name for name in named if f'def {name}(' not in code]


def test_each_fault_names_a_test():
    rows = [
        line
        for line in PAGE.splitlines()
        if line.startswith('| ') and not re.match(r'\| (fault|file) \|', line)
    ]
    assert len(rows) > 25
    assert not [row for row in rows if not NAME.search(row.split('|')[3])]
