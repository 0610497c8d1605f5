"""A conda environment, where there is something to build it with: py-rattler, or a conda.

The test stays on the host and asks for the environment when it runs, so it can be skipped first.
"""

import shutil
import urllib.request
from importlib.util import find_spec

import pytest

CHANNEL = "https://conda.anaconda.org/conda-forge"


@pytest.fixture
def with_jq(isoenv):
    if not find_spec("rattler") and not any(map(shutil.which, ["micromamba", "mamba", "conda"])):
        pytest.skip("neither py-rattler (pytest-isoenv[conda]) nor a conda is there")
    try:
        urllib.request.urlopen(f"{CHANNEL}/noarch/repodata.json", timeout=10).close()
    except OSError as error:
        pytest.skip(f"{CHANNEL} cannot be reached: {error}")
    return isoenv("with-jq")


def test_what_is_no_python_package(with_jq):
    shown = with_jq.run(["jq", "--version"], capture_output=True, text=True, check=True).stdout
    assert shown.startswith("jq-1.")
