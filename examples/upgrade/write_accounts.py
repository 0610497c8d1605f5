"""Runs with the old Werkzeug: store accounts as the application did in those days."""

import json
import sys
from pathlib import Path

from werkzeug.security import generate_password_hash

accounts = {
    "ada": generate_password_hash("engine"),
    "charles": generate_password_hash("engine", method="sha256"),
}
Path(sys.argv[1]).write_text(json.dumps(accounts))
