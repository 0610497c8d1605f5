"""Suites of real projects: from a pinned source distribution to what both runs told."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import sys
import tarfile
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.parity import added
from tests.parity.compare import Runner, Told, difference, environment_of, pythons

INDEX = "https://pypi.org/simple"
NAME = "here"
MARK = f'\npytestmark = __import__("pytest").mark.env("{NAME}")\n'


@dataclasses.dataclass(frozen=True)
class Allowed:
    """A difference that may be there, and must be: what ``pattern`` matches in a line, and why."""

    pattern: str
    why: str


@dataclasses.dataclass(frozen=True)
class Suite:
    """A project's suite, and the environment that it runs in.

    ``requirements`` come on top of the project's own wheel and pytest; ``args`` are for both runs.
    With ``tests``, a module with every kind of report is added to the suite in that directory.
    ``marked`` are the modules to keep and to mark, all of them, instead of using ``--in-env``.
    """

    project: str
    version: str
    sha256: str
    python: str
    pytest: str
    requirements: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    tests: str = ""
    marked: str = ""
    what: str = "as released"
    allowed: tuple[Allowed, ...] = ()

    @property
    def distributed(self) -> bool:
        """Whether pytest-xdist distributes the tests, so that their order is chance."""
        return any(argument.startswith("-n") for argument in self.args)

    @property
    def dependencies(self) -> list[str]:
        """The environment's requirements, all pinned."""
        return [f"{self.project}=={self.version}", f"pytest=={self.pytest}", *self.requirements]

    def __str__(self) -> str:
        what = "" if self.what == "as released" else f"-{self.what.replace(' ', '-')}"
        return f"{self.project}-{self.version}{what}"


def sdist(suite: Suite, directory: Path) -> Path:
    """The project's source distribution, downloaded once for all who share the directory."""
    file = directory / f"{suite.sha256}.tar.gz"
    if not file.exists():
        directory.mkdir(exist_ok=True)
        data = _download(suite)
        found = hashlib.sha256(data).hexdigest()
        assert found == suite.sha256, f"{suite.project} {suite.version}: sha256 {found}"
        partial = file.with_suffix(f".{os.getpid()}")
        partial.write_bytes(data)
        partial.replace(file)
    return file


def _download(suite: Suite) -> bytes:
    """By the index's page of the project (PEP 503), which says where the file is."""
    page = f"{INDEX}/{suite.project}/"
    with urllib.request.urlopen(page) as answer:
        links = answer.read().decode()
    link = re.search(rf'href="([^"#]*)#sha256={suite.sha256}"', links)
    assert link is not None, f"{page} has no file with the hash {suite.sha256}"
    with urllib.request.urlopen(urllib.parse.urljoin(page, link[1])) as answer:
        data: bytes = answer.read()
    return data


class Place:
    """A directory in which a suite is unpacked anew, at the same path, for each of its runs.

    ``fields`` are more of what its environment declares.
    """

    timeout = 300.0

    def __init__(
        self, suite: Suite, directory: Path, archive: Path, fields: Mapping[str, Any]
    ) -> None:
        self.suite = suite
        self._fields = fields
        self._directory = directory
        self._archive = archive
        self._project = directory / "project"
        self._plugins = directory / "plugins"
        self._report = directory / "report.json"

    def isolated(self) -> Told:
        """Run the suite from the host, which has nothing of it."""
        self._unpack()
        options = [f"--env-report={self._report}"]
        if self.suite.marked:
            self._mark()
        else:
            options.append(f"--in-env={NAME}")
        return self._run(Path(sys.executable).parent, *options)

    def plain(self) -> Told:
        """Run the suite by the pytest of the environment that the other run has used.

        What crashes cannot be asked of it.
        """
        self._unpack()
        options = [f"--deselect={self.crash}"] if self.crash else []
        return self._run(environment_of(self._report) / "bin", *options)

    @property
    def crash(self) -> str:
        """The id, without parameters, of the test that kills its process; empty if none does."""
        return f"{self.suite.tests}/{added.NAME}::{added.CRASH}" if self.suite.tests else ""

    def _unpack(self) -> None:
        """The project as its authors have released it, and the declaration of an environment."""
        shutil.rmtree(self._project, ignore_errors=True)
        with tarfile.open(self._archive) as archive:
            archive.extractall(self._directory / "unpacked", filter="data")
        (unpacked,) = (self._directory / "unpacked").iterdir()
        unpacked.replace(self._project)
        if self.suite.tests:
            (self._project / self.suite.tests / added.NAME).write_text(added.MODULE)
        for module in self._modules() if self.suite.marked else ():
            if not re.fullmatch(self.suite.marked, module.name):
                module.unlink()
        declared = {
            "python": pythons()[self.suite.python],
            "dependencies": self.suite.dependencies,
            # So that both processes have the same modules: hypothesis looks through all of them.
            "env": {"PYTHONPATH": str(self._plugins), "RECORD": os.devnull},
            **self._fields,
        }
        # YAML reads JSON.
        text = json.dumps({"environments": {"base": {"project": "none"}, NAME: declared}})
        (self._project / "isoenv.yaml").write_text(text)

    def _modules(self) -> list[Path]:
        return sorted(self._project.rglob("test_*.py"))

    def _mark(self) -> None:
        for module in self._modules():
            module.write_text(module.read_text() + MARK)

    def _run(self, bin_directory: Path, *args: str) -> Told:
        runner = Runner(self._project, self._plugins, timeout=self.timeout)
        return runner.run(bin_directory, [*self.suite.args, *args])


@dataclasses.dataclass
class Comparison:
    """What both runs told, and where they differ."""

    plain: Told
    isolated: Told
    unexplained: str
    gone: list[str]

    @property
    def count(self) -> int:
        """How many tests there are. With pytest-xdist, what is recorded collects nothing."""
        return len(self.plain.events["items"] or self.plain.by_test)

    @property
    def outcomes(self) -> str:
        """How often each outcome occurred, for a reader."""
        counts: dict[str, int] = {}
        for reports in self.isolated.by_test.values():
            for report in reports:
                if report["when"] == "call" or report["outcome"] != "passed":
                    name = _outcome(report)
                    counts[name] = counts.get(name, 0) + 1
        errors = sum(event["outcome"] == "failed" for event in self.isolated.events["collection"])
        if errors:
            counts["collection errors"] = errors
        return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))


def _outcome(report: dict[str, Any]) -> str:
    if report["wasxfail"] is not None:
        return {"skipped": "xfailed", "passed": "xpassed"}.get(report["outcome"], "failed")
    error = report["outcome"] == "failed" and report["when"] != "call"
    return "error" if error else str(report["outcome"])


def compare(place: Place) -> Comparison:
    """Run the suite both ways."""
    isolated = place.isolated()
    plain = place.plain()
    suite = place.suite
    here = _lines(isolated.without(place.crash) if place.crash else isolated, suite)
    there = _lines(plain, suite)
    unused = [allowed for allowed in suite.allowed if not _occurs(allowed, there, here)]
    for allowed in suite.allowed:
        here = [re.sub(allowed.pattern, "", line) for line in here]
        there = [re.sub(allowed.pattern, "", line) for line in there]
    if suite.distributed:
        here, there = sorted(here), sorted(there)
    return Comparison(
        plain,
        isolated,
        difference(there, here),
        [allowed.pattern for allowed in unused],
    )


def _occurs(allowed: Allowed, plain: list[str], isolated: list[str]) -> bool:
    """Whether the runs differ in what may differ."""
    found = [[re.findall(allowed.pattern, line) for line in run] for run in (plain, isolated)]
    return found[0] != found[1]


def _lines(told: Told, suite: Suite) -> list[str]:
    lines = told.lines + told.printed
    if suite.marked:
        # The mark is the one thing that was added to the suite.
        lines = [re.sub(r"'env', |, 'env'(?=\])|(?<=\[)'env'(?=\])", "", line) for line in lines]
    return lines
