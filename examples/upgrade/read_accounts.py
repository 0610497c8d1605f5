"""Runs with any Werkzeug: who can still log in?"""

import json
import sys
from pathlib import Path

from werkzeug.security import check_password_hash


def can_log_in(stored):
    try:
        return check_password_hash(stored, "engine")
    except ValueError as error:
        return str(error)


accounts = json.loads(Path(sys.argv[1]).read_text())
print(json.dumps({name: can_log_in(stored) for name, stored in accounts.items()}))
