import sys
from datetime import date
from pathlib import Path

import pytest


@pytest.mark.env("dateutil-*")
def test_easter_is_known_in_every_supported_release():
    from dateutil.easter import easter

    assert easter(2027) == date(2027, 3, 28)


@pytest.mark.env("dateutil-2.7.0")
def test_the_environment_sees_what_its_python_has():
    assert "include-system-site-packages = true" in Path(sys.prefix, "pyvenv.cfg").read_text()
