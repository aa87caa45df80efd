"""A million clips, as YouTube-SL-25 has them, are prepared, read, hashed and planned within 2 GB and minutes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MOST_MEGABYTES = 2000
MOST_SECONDS = 600
"""Processor time of one step."""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of the memory is read from /proc")
def test_a_million_clips_fit_into_2_gb_and_take_minutes(tmp_path: Path) -> None:
    made = [sys.executable, "-m", "tests.helpers.many_lines", str(tmp_path), "1000000"]
    ran = subprocess.run(made, capture_output=True, text=True, check=True)
    found = json.loads(ran.stdout.splitlines()[-1])
    assert set(found) == {"prepare_tsv", "prepare_youtube", "start", "read", "sha256", "plan_extraction"}
    for step, used in found.items():
        assert used["megabytes"] < MOST_MEGABYTES, (step, found)
        assert used["seconds"] < MOST_SECONDS, (step, found)
