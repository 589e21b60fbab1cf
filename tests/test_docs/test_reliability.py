"""Each fault of the reliability page names a test that exists."""

import re

from kit.digits_runs import ROOT

PAGE = (ROOT / 'docs' / 'reliability.md').read_text()
NAME = re.compile(r'`(test_\w+)`')


def test_each_fault_names_a_test_that_exists():
    code = '\n'.join(
        file.read_text() for file in (ROOT / 'tests').rglob('test_*.py')
    )
    missing = {n for n in NAME.findall(PAGE) if f'def {n}(' not in code}
    assert not missing
    rows = [
        line
        for line in PAGE.splitlines()
        if line.startswith('| ') and not re.match(r'\| (fault|file) \|', line)
    ]
    assert len(rows) > 25
    untested = [row for row in rows if not NAME.search(row.split('|')[3])]
    assert all('not tested' in row for row in untested), untested
