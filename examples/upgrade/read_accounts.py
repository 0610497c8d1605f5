"""Runs with any Werkzeug: who can still log in?"""

import json
import sys

from werkzeug.security import check_password_hash


def can_log_in(stored):
    try:
        return check_password_hash(stored, "engine")
    except ValueError as error:
        return str(error)


with open(sys.argv[1]) as file:
    accounts = json.load(file)
print(json.dumps({name: can_log_in(stored) for name, stored in accounts.items()}))
