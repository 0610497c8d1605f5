"""How old a resolution is: shown, and made anew where it is older than it may be."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_isoenv import EnvManager, _spans
from pytest_isoenv._backends import uv
from pytest_isoenv._resolutions import is_too_old, kept_in, was_tried
from pytest_isoenv._shares import Layer, combine
from pytest_isoenv._values import InvalidValueError, Surroundings, indexes
from pytest_isoenv.cli import main as cli_main
from pytest_isoenv.errors import ResolutionError
from pytest_isoenv.pinned import Resolution
from tests.packages import make_wheel

DAY = 86400.0
NOBODY_THERE = "no index could be asked"


@pytest.fixture
def nowhere() -> str:
    """The address of an index that is not there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/simple"


@pytest.fixture
def project(tmp_path):
    directory = tmp_path / "project"
    directory.mkdir()
    declared = {"it": {"dependencies": ["lib"], "max-age": "30d"}}
    (directory / "isoenv.yaml").write_text(json.dumps({"environments": declared}))
    return directory


@pytest.fixture
def provide(project, tmp_path):
    """The environment as a new process would get it."""

    def provide(name="it", **options):
        with EnvManager(project, cache_dir=tmp_path / "cache", **options) as manager:
            return manager.environment(name)

    return provide


@pytest.fixture
def pin(tmp_path):
    """What is written down of the only resolution; with fields, other things are."""

    def pin(**fields):
        (file,) = (tmp_path / "cache").glob("v1/resolutions/*/pin.json")
        written = json.loads(file.read_text())
        if fields:
            file.write_text(json.dumps({**written, **fields}))
        return written

    return pin


@pytest.fixture
def resolved(monkeypatch):
    """How often uv was asked to resolve."""
    asked = []
    resolve = uv.resolve

    def counting(*args):
        asked.append(args)
        return resolve(*args)

    monkeypatch.setattr(uv, "resolve", counting)
    return asked


# Values


@pytest.mark.parametrize(
    ("text", "days"),
    [("30d", 30), ("30 days", 30), ("P30D", 30), ("P1Y2M", 425), ("12h", 0.5), ("2 weeks", 14),
     ("1 month", 30), ("1y", 365)],
)  # fmt: skip
def test_a_span_is_written_as_other_tools_write_it(text, days):
    around = Surroundings(Path())
    assert indexes.read_max_age(text, around) == text
    assert indexes.read_moment(text, around) == text
    assert _spans.days_of(text) == days


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (30, "30 has no unit; write days, for instance, as '30d'"),
        ("30", "'30' is neither a span of time such as '30d', '12 hours' or 'P30D', nor 'never'"),
        ("2026-01-31", "neither a span of time"),
        ("5m", "neither a span of time"),  # months here, minutes there
        ("0 days", "'0 days' is no time at all; refresh: true"),
        (True, "True is not a text"),
    ],
)
def test_what_is_no_span_is_refused_with_the_rule_and_the_choices(value, said):
    with pytest.raises(InvalidValueError) as caught:
        indexes.read_max_age(value, Surroundings(Path()))
    assert said in str(caught.value)


def test_never_is_for_those_who_inherit_an_age():
    base = Layer(max_age="7d")
    assert combine([base]).max_age == "7d"
    assert combine([base, Layer(max_age="never")]).max_age is None
    assert combine([base, Layer(max_age="never"), Layer(max_age="1d")]).max_age == "1d"


def test_it_makes_no_other_environment_and_no_other_lock():
    young, old = combine([Layer(max_age="1d")]), combine([Layer()])
    assert young.installs_like(old)


@pytest.mark.parametrize(
    ("days", "max_age", "expected"),
    [
        (29, "30d", False),
        (31, "30d", True),
        (400, None, False),
        (None, "30d", True),  # nobody knows when it was
        (-3, "30d", True),  # made by a clock that was wrong
        (-0.01, "30d", False),
        (0.6, "12h", True),
    ],
)
def test_what_is_too_old(days, max_age, expected):
    moment = None if days is None else time.time() - days * DAY
    assert is_too_old(moment, max_age) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(10, True), (-10, False), (4000, False)])
def test_what_was_tried_just_now(seconds, expected):
    assert was_tried(Resolution((), tried=time.time() - seconds)) == expected
    assert not was_tried(Resolution(()))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "[1]", "{}", "3", '{"trees": 3}', '{"trees": [], "pylocks": 3}']
)
def test_a_resolution_that_was_not_written_whole_is_none(tmp_path, text):
    (tmp_path / "pin.json").write_text(text)
    assert kept_in(tmp_path) is None


# Resolving anew


def test_what_is_too_old_is_resolved_anew_and_then_kept_for_as_long(provide, pin, growing):
    before = time.time()
    first = provide()
    assert first.packages["lib"] == "1.0"
    assert before - 1 <= first.resolved <= time.time()
    make_wheel(growing, "lib", "1.1")
    pin(resolved=time.time() - 29 * DAY)
    young = provide()
    assert (young.packages["lib"], young.provisioned) == ("1.0", "cached")
    pin(resolved=time.time() - 31 * DAY)
    anew = provide()
    assert anew.packages["lib"] == "1.1"
    assert anew.why == "lib 1.0 -> 1.1"
    assert anew.resolved >= before
    assert (provide().provisioned, provide().note) == ("cached", "")
    assert pin()["resolved"] == anew.resolved


@pytest.mark.slow
def test_where_nothing_newer_is_there_nothing_is_built(provide, pin, resolved, growing):
    provide()
    pin(resolved=None)
    again = provide()
    assert again.provisioned == "cached"
    assert len(resolved) == 2


@pytest.mark.slow
def test_of_many_who_find_it_too_old_one_resolves_anew(provide, pin, resolved, growing):
    provide()
    pin(resolved=time.time() - 31 * DAY)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: provide(), range(6)))
    assert len(resolved) == 2
    assert len({environment.resolved for environment in found}) == 1


def test_without_a_network_the_old_one_serves_and_nobody_else_waits_for_it(
    provide, pin, resolved, growing, nowhere, monkeypatch
):
    provide()
    long_ago = time.time() - 31 * DAY
    pin(resolved=long_ago)
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    resolve = uv.resolve

    def offline(wanted, directory, run):
        def unreachable(args, **options):
            return run([*args[:3], "--default-index", nowhere, "--no-cache", *args[3:]], **options)

        return resolve(wanted, directory, unreachable)

    monkeypatch.setattr(uv, "resolve", offline)
    served = provide()
    assert (served.provisioned, served.resolved) == ("cached", long_ago)
    expected = f"resolved 31 days ago, which is longer than its max-age (30d): {NOBODY_THERE}"
    assert served.note == expected
    assert provide().note == expected
    assert len(resolved) == 2  # at first, and once in vain
    pin(tried=time.time() - 3600)
    monkeypatch.setattr(uv, "resolve", resolve)
    again = provide()
    assert again.note == ""
    assert again.resolved > long_ago


@pytest.mark.slow
def test_requirements_that_have_no_solution_any_more_are_an_error(provide, pin, growing):
    provide()
    pin(resolved=time.time() - 31 * DAY)
    for wheel in growing.glob("lib-*"):
        wheel.unlink()
    with pytest.raises(ResolutionError):
        provide()


@pytest.mark.slow
def test_what_is_ephemeral_has_no_age_to_wait_for(provide, pin, resolved, growing):
    provide()
    pin(resolved=time.time() - 31 * DAY)
    assert provide(ephemeral=True).note == ""
    assert pin()["resolved"] < time.time() - 30 * DAY


# Showing it


@pytest.mark.slow
def test_the_command_shows_how_old_it_is_and_what_comes_of_it(
    provide, project, tmp_path, pin, capsys, growing
):
    place = ["--rootdir", str(project), "--env-cache-dir", str(tmp_path / "cache")]

    def said(*args):
        assert cli_main.main([*args, *place]) == 0
        return capsys.readouterr().out

    provide()
    assert "resolved" not in said("list")
    assert "resolved   just now\n" in said("show", "it")
    moment = time.time() - 12 * DAY
    pin(resolved=moment)
    assert "cached  lib -> lib 1.0 (resolved 12 days ago)\n" in said("list")
    assert "resolved   12 days ago\n" in said("show", "it")
    assert "it: Python" in (built := said("build", "it"))
    assert "cached, resolved 12 days ago" in built
    moment = time.time() - 40 * DAY
    pin(resolved=moment)
    words = "40 days ago, longer than its max-age: it is resolved anew"
    assert f"(resolved {words})\n" in said("list")
    assert f"resolved   {words}\n" in said("show", "it")
    (listed,) = json.loads(said("list", "--json"))["environments"]
    shown = json.loads(said("show", "it", "--json"))
    assert (listed["resolved"], listed["outdated"]) == (moment, True)
    assert (shown["resolved"], shown["outdated"]) == (moment, True)


@pytest.mark.slow
def test_a_run_shows_it_from_the_second_day_on_and_the_report_always(pytester, run, own_cache):
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.env("lib==1.0", id="one", max_age="never")
        def test_it(): pass
        """
    )
    fresh = run("-v")
    fresh.stdout.no_fnmatch_line("one: *resolved*")
    fresh.stdout.fnmatch_lines(["  resolved just now"])
    assert time.time() - fresh.environments["one"]["resolved"] < DAY
    for file in own_cache.glob("v1/resolutions/*/pin.json"):
        moment = time.time() - 12 * DAY
        file.write_text(json.dumps({**json.loads(file.read_text()), "resolved": moment}))
    old = run()
    old.stdout.fnmatch_lines(["one: *; cached, resolved 12 days ago; 1 passed"])
    assert old.environments["one"]["resolved"] == moment
