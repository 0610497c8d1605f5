"""The code under test: it works with pydantic 1 and with pydantic 2."""

from __future__ import annotations

import pydantic


class User(pydantic.BaseModel):
    name: str
    age: int = 0


def as_dict(user: User) -> dict[str, object]:
    """What is sent to clients; pydantic 2 has renamed the method that gives it."""
    return user.model_dump() if hasattr(user, "model_dump") else user.dict()
