"""The process that merges files of the store: ``python -m streams.mergeworker``.

It is started and spoken to by lsmstore/runner.py, and reads from the state rows what is alive.
"""

from __future__ import annotations

import sys

from lsmstore.runner import serve
from streams.survivors import RowSurvivors

if __name__ == "__main__":
    serve(sys.argv[1:], RowSurvivors)
