"""Whether the processes of a search belong together."""

import json
import socket
from dataclasses import asdict

from detnas_mm.executors.job import Job
from detnas_mm.executors.watch import JobError
from detnas_mm.structures import SearchHeader

# What defines the search of rank 0.
_HEADER = 'header'


def disagreement(
    mine: SearchHeader, theirs: SearchHeader, *, me: str, them: str
) -> str | None:
    """Returns what to tell the user if this process has another search.

    Args:
        mine: What defines the search here.
        theirs: What defines it where it was started.
        me: What this process is called.
        them: What that process is called.
    """
    difference = theirs.difference(mine)
    if difference is None:
        return None
    return (
        f'{me} on {socket.gethostname()} has another search than {them} '
        f'(there: {them}, now: {me}): {difference}'
    )


def require_own_number(job: Job) -> None:
    """Sees to it that no process of another job takes part.

    Raises:
        JobError: If there is a process of this rank already.
    """
    if job.store.add(f'arrived/{job.rank}', 1) > 1:
        raise JobError(
            f'there is another rank {job.rank} already: two jobs meet at the '
            'same MASTER_ADDR and MASTER_PORT; give each a port of its own'
        )


def publish_search(job: Job, header: SearchHeader | None) -> None:
    """Tells the other processes what defines the search of rank 0."""
    job.store.set(_HEADER, _as_json(header))


def is_same_search(job: Job, header: SearchHeader | None) -> bool:
    """Whether rank 0 has said what it searches, which is this search.

    Raises:
        JobError: If it is another one.
    """
    if not job.store.check([_HEADER]):
        return False
    theirs = json.loads(job.store.get(_HEADER))
    mine = json.loads(_as_json(header))
    if None in (mine, theirs):
        return True
    difference = disagreement(
        SearchHeader(**mine),
        SearchHeader(**theirs),
        me=f'rank {job.rank}',
        them='rank 0',
    )
    if difference is not None:
        raise JobError(difference)
    return True


def _as_json(header: SearchHeader | None) -> str:
    return json.dumps(header and asdict(header))
