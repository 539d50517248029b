"""botocore's sessions, whose data is read once a process. It would else be read for every client, which
`benchmarks/cold_start.py` measures."""

import functools
from typing import Any

import botocore.loaders
import botocore.session


def new_session() -> Any:
    """A session with credentials and settings of its own, which are the environment's as it is now."""
    made = botocore.session.Session()
    made.register_component("data_loader", _loader())
    return made


@functools.cache
def _loader() -> Any:
    return botocore.loaders.create_loader()
