"""What holds for all tests: hypothesis draws the same examples in every run.

`HYPOTHESIS_PROFILE=search pytest ...` draws others, and more of them; a failure prints how to
reproduce it. How many crashes were tried is said at the end of a run.
"""

from __future__ import annotations

import os
import signal
from typing import Any

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

# A shell that starts us in the background has SIGINT ignored, and what we start inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)

COUNTED = ("crash points", "different disks after them", "kills")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Tests that crash something tell how often; here is the sum."""
    for what in COUNTED:
        numbers = [
            number
            for report in terminalreporter.getreports("passed")
            for name, number in report.user_properties
            if name == what
        ]
        if numbers:
            terminalreporter.write_line(f"{what}: {sum(numbers)} in {len(numbers)} tests")
