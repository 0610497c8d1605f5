"""Many long-lived processes in one cache: ``python -m tests.soak --minutes 10 --processes 12``.

Each does at random what users do: builds, uses, refreshes, upgrades, prunes, and finds its own
environment broken. Some are killed now and then, and others come in their place. It prints what
was done, and fails if anything went wrong: an error, an environment lost while it was in use, one
that was built twice, a process or rubbish that is left.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import os
import random
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pytest_isoenv._steps import EVENT
from pytest_isoenv.cli import main as command
from pytest_isoenv.environment import Environment
from pytest_isoenv.manager import EnvManager
from tests.faults import state
from tests.faults.world import World, break_environment

_VERSIONS = "import importlib.metadata as m, sys; print(*(m.version(p) for p in sys.argv[1:]))"
# How long (seconds) all processes want one environment that nobody had before.
_EPOCH = 4
_EPOCHS = 200
_NAMES = {"app": {"lib": "1.0"}, "thin": {"lib": "1.0", "moving": "1.0"}, "whole": {"tree": "1.0"}}


# One of the processes


class User:
    """What one process does, and what it tells of it: a line for each thing."""

    def __init__(self, project: Path, cache: Path, log: Path, number: str, seed: str) -> None:
        self._project, self._cache, self._number = project, cache, number
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._random = random.Random(seed)
        self._held: list[tuple[EnvManager, Environment, dict[str, str]]] = []
        sys.addaudithook(self._heard)

    def _tell(self, what: str, **more: Any) -> None:
        line = json.dumps({"what": what, "pid": os.getpid(), **more})
        os.write(self._log, f"{line}\n".encode())

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        if event == EVENT and args[0] in ("publish", "hidden"):
            path = Path(args[1])
            place = path if args[0] == "publish" else path.parent
            if place.parent.name == "environments":
                self._tell(args[0], key=place.name)

    def go_on(self) -> None:
        """Do one thing after the other until standard input is closed."""
        while not select.select([0], [], [], 0)[0]:
            self._do_one()
        while self._held:
            self._let_go()

    def _do_one(self) -> None:
        things: list[tuple[int, Callable[[], None]]] = [
            (6, self._use),
            (3, self._use_what_is_new),
            (2, self._hold),
            (3, self._let_go),
            (1, self._refresh),
            (1, self._upgrade),
            (2, self._prune),
            (1, self._prune_all),
            (1, self._heal),
        ]
        (thing,) = self._random.choices([t for _, t in things], [weight for weight, _ in things])
        try:
            thing()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it counts
            self._tell("error", of=thing.__name__, error=f"{type(error).__name__}: {error}")

    def _manager(self, **options: bool) -> EnvManager:
        return EnvManager(self._project, cache_dir=self._cache, **options)

    def _some(self) -> tuple[str, dict[str, str]]:
        return self._random.choice(sorted(_NAMES.items()))

    def _in_use(self, environment: Environment, packages: dict[str, str]) -> None:
        """Whether everything is there."""
        what = {"built": "build", "cached": "hit"}.get(environment.provisioned, "refresh")
        self._tell(what, wanted=environment.key)
        self._look_at(environment, packages)

    def _look_at(self, environment: Environment, packages: dict[str, str]) -> None:
        ended = environment.run(
            ["python", "-c", _VERSIONS, *packages], capture_output=True, text=True, check=False
        )
        if ended.stdout.split() != [*packages.values()]:
            self._tell("error", of="using", error=f"{environment.path}: {ended}")

    def _use(self) -> None:
        name, packages = self._some()
        with self._manager() as manager:
            self._in_use(manager.environment(name), packages)

    def _use_what_is_new(self) -> None:
        """One key for all who want it at about this time."""
        with self._manager() as manager:
            version = f"1.{int(time.time() // _EPOCH) % _EPOCHS}"
            self._in_use(manager.environment(f"fresh=={version}"), {"fresh": version})

    def _hold(self) -> None:
        if len(self._held) < 3:
            name, packages = self._some()
            manager = self._manager()
            self._held.append((manager, manager.environment(name), packages))
            self._in_use(self._held[-1][1], packages)

    def _let_go(self) -> None:
        """Use what was held for a while, and give it back."""
        if self._held:
            manager, environment, packages = self._held.pop(0)
            with manager:
                self._look_at(environment, packages)
                self._tell("held to the end")

    def _refresh(self) -> None:
        name, packages = self._some()
        with self._manager(ephemeral=True) as manager:
            self._in_use(manager.environment(name), packages)

    def _upgrade(self) -> None:
        with self._manager(upgrade=True) as manager:
            self._in_use(manager.environment("moving"), {"moving": "1.0"})

    def _heal(self) -> None:
        """Break an environment that nobody else uses, and want it again."""
        own = f"own{self._number}"
        with self._manager() as manager:
            environment = manager.environment(f"{own}==1.0")
            self._tell("breaks", key=environment.key)
            break_environment(environment.path, own)
        with self._manager() as manager:
            environment = manager.environment(f"{own}==1.0")
            self._in_use(environment, {own: "1.0"})
            if environment.provisioned != "built":
                self._tell("error", of="heal", error=f"not healed: {environment}")

    def _prune(self) -> None:
        self._command("prune", "--max-size", self._random.choice(["0", "200kB", "1MB"]))

    def _prune_all(self) -> None:
        self._command("prune", "--older-than", "0s")

    def _command(self, *args: str) -> None:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = command.main([*args, "--env-cache-dir", str(self._cache)])
        if status != 0:
            self._tell("error", of=" ".join(args), error=err.getvalue())
        removed = sum(line.startswith("removed:") for line in out.getvalue().splitlines())
        self._tell("prune", removed=removed)


# All of them


@dataclasses.dataclass
class Told:
    """What was done in all, and what was wrong."""

    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    wrong: list[str] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        names = ("build", "hit", "refresh", "held to the end", "prune", "removed", "kill")
        said = ", ".join(f"{name}: {self.counts[name]}" for name in names)
        shared = f"environments that several processes wanted: {self.counts['shared']}"
        said = f"{said}, {shared}, built twice: {self.counts['twice']}, errors: {len(self.wrong)}"
        return "\n".join([said, *self.wrong])


def soak(directory: Path, seconds: float, processes: int, seed: int = 0) -> Told:
    """Let processes share a cache for a time, and see that nothing is wrong."""
    own = {f"own{number}": ["1.0"] for number in range(processes)}
    world = World(directory, {**own, "fresh": [f"1.{number}" for number in range(_EPOCHS)]})
    log = directory / "log"
    chance, killed = random.Random(seed), set()
    users = [_started(world, log, n, f"{seed} {n}") for n in range(processes)]
    told = Told()
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            number = chance.randrange(processes)
            with contextlib.suppress(subprocess.TimeoutExpired):
                # One that ends by itself is noticed at once; one that lives is killed.
                users[number].wait(chance.uniform(1, 5))
                told.wrong.append(f"a process ended: {users[number].returncode}")
            users[number].kill()
            users[number].communicate()
            killed.add(users[number].pid)
            users[number] = _started(world, log, number, f"{seed} {number} {len(killed)}")
        for user in users:
            user.communicate()
        _sum_up(log, killed, told)
        world.must("prune")
        told.wrong += [*state.rubbish(world.home), *state.half(world.home)]
        told.wrong += state.processes(world.cache)
    finally:
        for user in users:
            user.kill()
            user.communicate()
        world.close()
    return told


def _started(world: World, log: Path, number: int, seed: str) -> subprocess.Popen[bytes]:
    places = [str(world.directory / "project"), str(world.cache), str(log)]
    return subprocess.Popen(
        [sys.executable, "-m", __spec__.name, "--user", *places, str(number), seed],
        cwd=Path(__file__).parents[1],
        env=world.environ,
        stdin=subprocess.PIPE,
    )


def _sum_up(log: Path, killed: set[int], told: Told) -> None:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        told.counts[line["what"]] += 1
        told.counts["removed"] += line.get("removed", 0)
        if line["what"] == "error":
            told.wrong.append(f"error in {line['of']}: {line['error']}")
    told.counts["kill"] = len(killed)
    users: dict[str, set[int]] = {}
    for line in lines:
        users.setdefault(line.get("wanted", ""), set()).add(line["pid"])
    told.counts["shared"] = sum(len(pids) > 1 for key, pids in users.items() if key)
    twice = list(_built_twice(lines, killed))
    told.counts["twice"] = len(twice)
    told.wrong += twice


def _built_twice(lines: list[dict[str, Any]], killed: set[int]) -> Iterator[str]:
    """Keys that were published while they were.

    Both publishing and hiding is told under the lock of the key. Who was killed may have told what
    was not done any more.
    """
    there: dict[str, int] = {}
    for line in lines:
        key = line.get("key", "")
        if line["what"] in ("hidden", "breaks"):
            there.pop(key, None)
        elif line["what"] == "publish":
            if key in there and there[key] not in killed:
                yield f"built twice: {key}"
            there[key] = line["pid"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--processes", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--user", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.user:
        project, cache, log, number, seed = args.user
        User(Path(project), Path(cache), Path(log), number, seed).go_on()
        return 0
    with tempfile.TemporaryDirectory(prefix="isoenv-soak-") as directory:
        told = soak(Path(directory), args.minutes * 60, args.processes, args.seed)
    print(told)
    return 1 if told.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
