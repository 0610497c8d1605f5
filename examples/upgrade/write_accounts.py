"""Runs with the old Werkzeug: store accounts as the application did in those days."""

import json
import sys

from werkzeug.security import generate_password_hash

accounts = {
    "ada": generate_password_hash("engine"),
    "charles": generate_password_hash("engine", method="sha256"),
}
with open(sys.argv[1], "w") as file:
    json.dump(accounts, file)
