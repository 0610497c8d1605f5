"""Where packages come from, how new they may be, and how old what they were resolved to."""

from __future__ import annotations

import datetime
import re
from typing import Any

from pytest_isoenv import _spans
from pytest_isoenv._values import (
    InvalidValueError,
    Surroundings,
    each,
    text_of,
    without_credentials,
)
from pytest_isoenv._values.paths import existing
from pytest_isoenv.spec import NEVER


def read_url(value: Any, around: Surroundings) -> str:
    text = without_credentials(text_of(value, around))
    if not re.match(r"([\w.-]+=)?(https?|file)://", text):
        raise InvalidValueError(f"{text!r} is not the URL of an index, nor NAME=URL")
    return text


def read_urls(value: Any, around: Surroundings) -> tuple[str, ...]:
    return each(value, around, read_url)


def read_links(value: Any, around: Surroundings) -> tuple[str, ...]:
    return each(
        value, around, lambda text, _: (read_url if "://" in text else existing)(text, around)
    )


def read_moment(value: Any, around: Surroundings) -> str:
    if isinstance(value, datetime.date):  # YAML and TOML know dates
        return value.isoformat()
    text = text_of(value, around)
    try:
        datetime.datetime.fromisoformat(re.sub("Z$", "+00:00", text))
    except ValueError:
        if not _spans.is_span(text):
            raise InvalidValueError(
                f"{text!r} is neither a date such as '2026-01-31', a moment such as "
                f"'2026-01-31T12:00:00Z', nor a span such as '30 days'"
            ) from None
    return text


def read_max_age(value: Any, around: Surroundings) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise InvalidValueError(f"{value!r} has no unit; write days, for instance, as '{value}d'")
    text = text_of(value, around)
    if text == NEVER:
        return text
    if not _spans.is_span(text):
        raise InvalidValueError(
            f"{text!r} is neither a span of time such as '30d', '12 hours' or 'P30D', nor {NEVER!r}"
        )
    if not _spans.days_of(text):
        raise InvalidValueError(
            f"{text!r} is no time at all; refresh: true builds an environment from scratch each "
            f"time, and --env-upgrade resolves anew"
        )
    return text
