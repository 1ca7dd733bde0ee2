"""What holds for all tests: hypothesis draws the same examples in every run.

`HYPOTHESIS_PROFILE=search pytest ...` draws others, and more of them; a failure prints how to
reproduce it.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "every-run",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "search", settings.get_profile("every-run"), derandomize=False, max_examples=2000
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "every-run"))
