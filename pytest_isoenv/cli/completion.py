"""``isoenv completion SHELL``: a script for the shell, made from the parsers of the commands."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterator

from pytest_isoenv.cli.command import ENVIRONMENTS, Command
from pytest_isoenv.cli.console import say

_NAMES = "isoenv list --names 2>/dev/null"


@dataclasses.dataclass(frozen=True)
class _Word:
    """A command as shells see it: its options with their meaning, and what else it takes."""

    name: str
    help: str
    options: dict[str, str]
    valued: tuple[str, ...]
    choices: tuple[str, ...]
    takes_environments: bool


def _words(parser: argparse.ArgumentParser) -> Iterator[_Word]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, one in action.choices.items():
                yield _word(name, helps[name], one)


def _word(name: str, text: str, parser: argparse.ArgumentParser) -> _Word:
    positional = [action for action in parser._actions if not action.option_strings]
    return _Word(
        name=name,
        help=text,
        options={
            option: action.help or ""
            for action in parser._actions
            for option in action.option_strings
        },
        valued=tuple(
            option
            for action in parser._actions
            for option in action.option_strings
            if action.nargs != 0
        ),
        choices=tuple(str(c) for action in positional for c in action.choices or ()),
        takes_environments=any(action.dest in ENVIRONMENTS for action in positional),
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _bash(words: list[_Word]) -> Iterator[str]:
    yield "_isoenv() {"
    yield '    local current="${COMP_WORDS[COMP_CWORD]}" word words'
    yield '    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do'
    yield '        [[ $word == -- ]] && COMPREPLY=($(compgen -c -- "$current")) && return'
    yield "    done"
    valued = {option for word in words for option in word.valued}
    yield '    case "${COMP_WORDS[COMP_CWORD-1]}" in'
    yield f"        {'|'.join(sorted(valued))}) return;;"
    yield "    esac"
    yield f'    words="{" ".join(word.name for word in words)}"'
    yield "    if (( COMP_CWORD > 1 )); then"
    yield '        case "${COMP_WORDS[1]}" in'
    for word in words:
        names = [f"$({_NAMES})"] * word.takes_environments
        several = " ".join([*word.choices, *word.options, *names])
        yield f'            {word.name}) words="{several}";;'
    yield '            *) words="";;'
    yield "        esac"
    yield "    fi"
    yield '    COMPREPLY=($(compgen -W "$words" -- "$current"))'
    yield "}"
    yield "complete -o default -F _isoenv isoenv"


def _zsh(words: list[_Word]) -> Iterator[str]:
    yield "#compdef isoenv"
    yield "_isoenv() {"
    yield "    local -a found"
    yield "    if (( CURRENT == 2 )); then"
    yield "        found=("
    yield from (f"            {_zsh_pair(word.name, word.help)}" for word in words)
    yield "        )"
    yield "        _describe command found"
    yield "        return"
    yield "    fi"
    yield "    if (( ${words[(Ie)--]} && ${words[(Ie)--]} < CURRENT )); then"
    yield "        _command_names -e || _files"
    yield "        return"
    yield "    fi"
    yield "    case $words[2] in"
    for word in words:
        pairs = [*word.options.items(), *((choice, "") for choice in word.choices)]
        yield f"        {word.name})"
        yield f"            found=({' '.join(_zsh_pair(*pair) for pair in pairs)})"
        if word.takes_environments:
            yield f'            found+=("${{(@f)$({_NAMES})}}")'
        yield "            _describe argument found || _files;;"
    yield "        *) _files;;"
    yield "    esac"
    yield "}"
    yield "compdef _isoenv isoenv"


def _zsh_pair(name: str, text: str) -> str:
    return _quoted(f"{name}:{text}".replace("\n", " ") if text else name)


def _fish(words: list[_Word]) -> Iterator[str]:
    for word in words:
        first = "complete -c isoenv -f -n __fish_use_subcommand"
        yield f"{first} -a {word.name} -d {_quoted(word.help)}"
        within = f"complete -c isoenv -n '__fish_seen_subcommand_from {word.name}'"
        for option, text in word.options.items():
            kind = "-l" if option.startswith("--") else "-s"
            yield f"{within} {kind} {option.lstrip('-')} -d {_quoted(text)}"
        if word.choices:
            yield f"{within} -f -a {_quoted(' '.join(word.choices))}"
        if word.takes_environments:
            yield f"{within} -f -a {_quoted(f'({_NAMES})')}"


_SHELLS: dict[str, Callable[[list[_Word]], Iterator[str]]] = {
    "bash": _bash,
    "zsh": _zsh,
    "fish": _fish,
}


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=sorted(_SHELLS), help="whose script to print")


def _act(args: argparse.Namespace) -> int:
    say(*_SHELLS[args.shell](list(_words(args.parser))))
    return 0


COMMAND = Command("completion", "print a script that completes words in a shell", _act, _arguments)
