"""How requirements are resolved, as declared: low or high, bounded, from where, until when."""

from __future__ import annotations

import datetime
import hashlib
import http.server
import json
import sys
import threading

import pytest

from pytest_isoenv import _config, _settings
from pytest_isoenv._backends import uv
from pytest_isoenv._backends.hashes import only_allowed
from pytest_isoenv._interpreters import Interpreters
from pytest_isoenv._process import Processes
from pytest_isoenv._wanted import intent_of, newest_upload, wanted_of
from pytest_isoenv.errors import HashError
from pytest_isoenv.pinned import read_pylock
from tests.packages import make_project, make_wheel

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture(scope="module")
def links(tmp_path_factory):
    """More versions than the common index has, beside it."""
    directory = tmp_path_factory.mktemp("links")
    for version in ("1.0", "1.5", "2.0", "3.0a1"):
        make_wheel(directory, "deep", version)
    for version in ("1.0", "2.0"):
        make_wheel(directory, "needs", version, requires=["deep>=1"])
    return directory


@pytest.fixture
def wanted(tmp_path):
    """What a declaration asks of a backend."""

    def wanted(fields, name="it"):
        (tmp_path / "isoenv.yaml").write_text(json.dumps({"environments": {name: fields}}))
        spec = _config.load(tmp_path).spec(name)
        settings = _settings.gather(tmp_path, cache=tmp_path / "cache")
        memory = tmp_path / "interpreters.json"
        return wanted_of(spec, Interpreters(settings, Processes(), memory).find(None), settings)

    return wanted


@pytest.fixture
def resolved(tmp_path, wanted, links):
    """What a declaration resolves to; the wheels of this module are among its links."""

    def run(args, *, purpose, failure, cwd=None):
        ended = Processes().run(args, environ=_settings.gather(tmp_path).installer_environ, cwd=cwd)
        if ended.status != 0:
            raise failure(purpose, ended.command, ended.status, ended.output)
        return ended.stdout

    def resolved(**fields):
        directory = tmp_path / "resolution"
        directory.mkdir(exist_ok=True)
        fields = {key.replace("_", "-"): value for key, value in fields.items()}
        fields.setdefault("find-links", [str(links)])
        resolution = uv.resolve(wanted(fields), directory, run)
        pins = [pin for text in resolution.pylocks for pin in read_pylock(text)]
        return {pin.name: pin.version for pin in pins}

    return resolved


def test_by_default_versions_are_high(resolved):
    found = resolved(dependencies=["needs"])
    assert (found["needs"], found["deep"]) == ("2.0", "2.0")
    assert found["pytest"] == pytest.__version__


def test_lowest_direct_is_low_in_what_is_asked_for_only(resolved):
    found = resolved(dependencies=["needs"], resolution="lowest-direct")
    assert (found["needs"], found["deep"]) == ("1.0", "2.0")


def test_lowest_is_low_everywhere(resolved):
    found = resolved(dependencies=["needs"], resolution="lowest")
    assert (found["needs"], found["deep"]) == ("1.0", "1.0")


def test_where_versions_are_low_pytest_is_the_hosts_unless_somebody_asks_for_it(resolved, wanted):
    assert resolved(dependencies=["needs"], resolution="lowest")["pytest"] == pytest.__version__
    asked = {"dependencies": ["pytest"], "resolution": "lowest"}
    assert wanted(asked).pytest_requirements[0] == ""


def test_the_projects_and_the_tests_requirements_are_resolved_together(resolved, tmp_path):
    make_project(tmp_path, "app", "1.0", requires=["needs>=1"])
    found = resolved(project="editable", dependencies=["deep>1"], resolution="lowest-direct")
    assert (found["needs"], found["deep"]) == ("1.0", "1.5")


def test_constraints_bound_what_others_ask_for_and_ask_for_nothing(resolved):
    found = resolved(dependencies=["needs"], constraints=["deep<2", "lib<2"])
    assert found["deep"] == "1.5"
    assert "lib" not in found


def test_overrides_replace_what_others_ask_for(resolved):
    assert resolved(dependencies=["needs-lib"], overrides=["lib==2.0"])["lib"] == "2.0"


def test_prereleases_on_request(resolved):
    assert resolved(dependencies=["deep"], prerelease="allow")["deep"] == "3.0a1"


def test_requirement_files_are_read_where_they_lie(resolved, tmp_path):
    (tmp_path / "reqs").mkdir()
    (tmp_path / "reqs" / "all.txt").write_text("-r more.txt\nlib<2\n")
    (tmp_path / "reqs" / "more.txt").write_text("deep==1.5\n")
    found = resolved(requirements=["reqs/all.txt"])
    assert (found["lib"], found["deep"]) == ("1.1", "1.5")


def test_hashes_of_a_requirements_file_are_all_that_may_be_installed(resolved, tmp_path, links):
    wheel = next(links.glob("deep-1.5-*.whl"))
    good = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (tmp_path / "all.txt").write_text("-r hashed.txt\nlib\n")
    for hashes in ((good,), (good.upper(), "0" * 64)):
        lines = [f"    --hash=sha256:{one} \\\n" for one in hashes]
        (tmp_path / "hashed.txt").write_text("Deep==1.5 \\\n" + "".join(lines) + "    # why\n")
        assert resolved(requirements=["all.txt"])["deep"] == "1.5"
    (tmp_path / "hashed.txt").write_text(f"Deep==1.5 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(HashError) as caught:
        resolved(requirements=["all.txt"])
    assert "no file of deep has a hash that the requirements file allows" in str(caught.value)
    assert good in str(caught.value)


def test_of_several_files_those_remain_whose_hashes_are_allowed():
    def file(kind, digits):
        return f'{{ url = "https://x.test/lib{kind}", hashes = {{ sha256 = "{digits}" }} }}'

    wheels = f"wheels = [\n    {file('.whl', 'bb')},\n    {file('.whl', 'cc')},\n]\n"
    text = f'[[packages]]\nname = "lib"\nversion = "1"\nsdist = {file(".zip", "aa")}\n{wheels}'
    left = only_allowed(text, {"lib": frozenset({"sha256:cc"})})
    assert 'version = "1"' in left
    assert [digits for digits in ("aa", "bb", "cc") if f'"{digits}"' in left] == ["cc"]
    left = only_allowed(text, {"lib": frozenset({"sha256:aa"})})
    assert "wheels" not in left
    assert tomllib.loads(left)["packages"][0]["sdist"]["hashes"] == {"sha256": "aa"}
    assert only_allowed(text, {"other": frozenset()}) == text


def test_indexes_are_asked_as_declared(resolved, index, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    assert resolved(dependencies=["lib"], index=index.url)["lib"] == "2.0"
    assert resolved(dependencies=["deep"], index=index.url)["deep"] == "2.0"


def test_an_extra_index_comes_first(resolved, dated_index):
    found = resolved(dependencies=["lib"], extra_indexes=[f"dated={dated_index}"])
    assert found["lib"] == "0.5"


@pytest.fixture
def dated_index(tmp_path):
    """An index that says when files were uploaded (PEP 700)."""

    def page(name, *uploads):
        wheels = [make_wheel(tmp_path / "dated", name, version) for version, _ in uploads]
        files = [
            {
                "filename": wheel.name,
                "url": f"/files/{wheel.name}",
                "hashes": {},
                "upload-time": f"{day}T10:00:00Z",
            }
            for wheel, (_, day) in zip(wheels, uploads, strict=True)
        ]
        return {"meta": {"api-version": "1.1"}, "name": name, "files": files}

    pages = {
        "/simple/lib/": page("lib", ("0.5", "2026-01-01")),
        "/simple/dated/": page("dated", ("0.9", "2026-01-30"), ("1.0", "2026-01-31")),
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path in pages:
                body = json.dumps(pages[self.path]).encode()
                kind = "application/vnd.pypi.simple.v1+json"
            elif self.path.endswith(".whl"):
                body = (tmp_path / "dated" / self.path.rpartition("/")[2]).read_bytes()
                kind = "application/zip"
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/simple"
    server.shutdown()
    server.server_close()


def test_what_was_uploaded_later_is_not_seen(resolved, dated_index, wheels):
    # What links offer, here pytest, has no date and is always seen.
    fields = {"extra_indexes": [dated_index], "find_links": [str(wheels)]}
    found = resolved(dependencies=["dated"], exclude_newer="2026-01-31", **fields)
    assert found["dated"] == "1.0"
    found = resolved(dependencies=["dated"], exclude_newer="2026-01-30", **fields)
    assert found["dated"] == "0.9"


NOW = datetime.datetime(2026, 3, 31, 15, 30, tzinfo=datetime.timezone.utc)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (None, None),
        ("2026-01-31", "2026-02-01T00:00:00Z"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00Z"),
        ("30 days", "2026-03-01T00:00:00Z"),
        ("P30D", "2026-03-01T00:00:00Z"),
        ("1 week", "2026-03-24T00:00:00Z"),
        ("P1M1D", "2026-02-28T00:00:00Z"),
        ("12 hours", "2026-03-30T12:00:00Z"),
    ],
)
def test_a_date_means_its_end_and_a_span_is_counted_from_midnight(text, moment):
    assert newest_upload(text, NOW) == moment


@pytest.mark.parametrize(
    "fields",
    [
        {"dependencies": ["lib"]},
        {"constraints": ["lib<2"]},
        {"overrides": ["lib<2"]},
        {"resolution": "lowest"},
        {"prerelease": "allow"},
        {"index": "https://one.test/simple"},
        {"extra-indexes": ["https://one.test/simple"]},
        {"find-links": ["links"]},
        {"exclude-newer": "2026-01-01"},
        {"requirements": ["requirements.txt"]},
        {"project": "editable"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_a_resolution_hangs_on_is_in_its_key(wanted, tmp_path, fields):
    make_project(tmp_path, "app", "1.0")
    (tmp_path / "links").mkdir()
    (tmp_path / "requirements.txt").write_text("lib\n")
    base = {"project": "none"}
    assert intent_of(uv, wanted(base)) == intent_of(uv, wanted(base))
    assert intent_of(uv, wanted({**base, **fields})) != intent_of(uv, wanted(base))


def test_content_of_what_is_named_is_in_the_key(wanted, tmp_path):
    (tmp_path / "requirements.txt").write_text("lib\n")
    before = intent_of(uv, wanted({"requirements": ["requirements.txt"]}))
    (tmp_path / "requirements.txt").write_text("lib<2\n")
    assert intent_of(uv, wanted({"requirements": ["requirements.txt"]})) != before
