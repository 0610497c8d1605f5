"""SIGKILL at random moments, with two jobs at once in one cache."""

from __future__ import annotations

import dataclasses
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults import state
from tests.faults.child import Child
from tests.faults.world import USE_APP, USE_THIN, USE_WHOLE, World, break_environment, running

_AT_ONCE = 2
# Says that it is there, and stays as long as somebody listens.
_HOLD = "print('held', flush=True); import sys; sys.stdin.read(); import other"
_FRESH = (*USE_APP[:1], "--env-refresh", *USE_APP[1:])
_MOVING = running("moving", "import moving; print('moving', moving.__version__)", "--env-upgrade")
_ALL = ("prune", "--older-than", "0s")
#: The jobs, and what each prints in the end.
JOBS = (
    (USE_APP, "lib 1.0"),
    (USE_WHOLE, "proj 1 tree 2"),
    (USE_THIN, "lib 1.0"),
    (_FRESH, "lib 1.0"),
    (_MOVING, "moving 1.0"),
    (("heal",), "own 1.0"),
    (_ALL, "removed"),
    (("prune",), "removed"),
)


@dataclasses.dataclass
class Killed:
    """What was killed, and what was wrong after that."""

    kills: int = 0
    ended: int = 0
    wrong: list[str] = dataclasses.field(default_factory=list)
    left: list[str] = dataclasses.field(default_factory=list)

    @property
    def is_right(self) -> bool:
        return not self.wrong and not self.left

    def __str__(self) -> str:
        problems = [*self.wrong, *self.left]
        kinds = {"lost": "lost", "half": "half environments", "process": "leftover processes"}
        kinds |= {"rubbish": "pieces of rubbish", "error": "other errors"}
        counts = [
            f"{sum(one.startswith(kind) for one in problems)} {name}"
            for kind, name in kinds.items()
        ]
        said = f"{self.kills} kills at random moments, while {self.ended} jobs came to their end: "
        said += ", ".join(counts) + "."
        return "\n".join([said, *problems])


class _Striker:
    """Does jobs of one world one after the other, and kills most of them."""

    def __init__(self, world: World, number: int, seed: int, killed: Killed) -> None:
        self._world = world
        self._number = number
        self._random = random.Random(f"{seed} {number}")
        self._killed = killed
        self._child = Child()
        self._place: Path | None = None

    def close(self) -> None:
        self._child.close()

    def strike(self) -> bool:
        """Do a job, kill it at some moment; whether it was killed before it ended."""
        args, says = self._random.choice(JOBS)
        if args == ("heal",):
            args = self._broken()
        # Most of what happens happens in the first half second.
        moment = self._random.expovariate(1 / 0.35)
        answer = self._world.do(args, child=self._child, kill_after=moment)
        if answer.status == -signal.SIGKILL:
            return True
        if answer.status != 0 or says not in answer.out:
            self._killed.wrong.append(f"error: {args}: {answer}")
        self._killed.ended += 1
        return False

    def _broken(self) -> tuple[str, ...]:
        """Break the environment that nobody else has, if it is there; what uses it then."""
        if self._place is None:
            answer = self._world.do(("path", f"own-{self._number}"), child=self._child)
            self._place = Path(answer.out.strip()).parent
        for directory in self._place.glob("[0-9]*"):
            break_environment(directory, f"own{self._number}")
        code = f"import own{self._number} as own; print('own', own.__version__)"
        return running(f"own-{self._number}", code)

    def done(self) -> None:
        """In the end every job is done with nothing in its way."""
        for args, says in JOBS:
            told = self._broken() if args == ("heal",) else args
            answer = self._world.do(told, child=self._child)
            if answer.status != 0 or says not in answer.out:
                self._killed.wrong.append(f"error in the end: {told}: {answer}")


def strike(directory: Path, count: int, seed: int = 0) -> Killed:
    """Kill so many jobs in one cache; see after each that nothing is half, and nothing is lost."""
    killed, world = Killed(), World(directory)
    held = _Held(world)
    strikers = [_Striker(world, n + 1, seed, killed) for n in range(_AT_ONCE)]
    guard = threading.Lock()

    def go_on(striker: _Striker) -> None:
        while killed.kills < count:
            was_killed = striker.strike()
            with guard:
                killed.kills += was_killed
                killed.wrong += [*state.half(world.home), *held.changes()]

    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(go_on, strikers))
        strikers[0].done()
        held.release(killed)
        world.must("prune")
        killed.left += [*state.rubbish(world.home), *state.processes(world.cache)]
    finally:
        held.close()
        for striker in strikers:
            striker.close()
        world.close()
    return killed


class _Held:
    """An environment that a process uses all the time."""

    def __init__(self, world: World) -> None:
        world.must("build", "bystander")
        self._place = world.environment("bystander").parent
        args = running("bystander", _HOLD)
        words = [*args[:-4], "--env-cache-dir", str(world.cache), *args[-4:]]
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "pytest_isoenv", *words],
            cwd=world.directory / "project",
            env=world.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._popen.stdout
        assert self._popen.stdout.readline() == b"held\n"
        self._picture = state.picture(self._place)

    def changes(self) -> Iterator[str]:
        try:
            is_same = state.picture(self._place) == self._picture
        except FileNotFoundError:
            is_same = False
        if not is_same:
            yield "lost: the environment that is in use all the time"

    def release(self, killed: Killed) -> None:
        """Use it a last time, and let it go."""
        self._popen.communicate()
        if self._popen.returncode != 0:
            killed.wrong.append("lost: what is in use could not be used in the end")

    def close(self) -> None:
        if self._popen.returncode is None:
            self._popen.kill()
            self._popen.communicate()
