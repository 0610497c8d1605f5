"""``isoenv show NAME``: what an environment is made of, and why its key is what it is."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_isoenv._files import read_json
from pytest_isoenv._provision import Outlook
from pytest_isoenv._redact import redact
from pytest_isoenv._shares import Layer
from pytest_isoenv.cli import list_
from pytest_isoenv.cli.command import Command, add_json, add_name, add_place
from pytest_isoenv.cli.console import ago, say, say_json
from pytest_isoenv.cli.project import Project
from pytest_isoenv.spec import EnvSpec


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_name(parser)
    add_json(parser)
    add_place(parser)


def _act(args: argparse.Namespace) -> int:
    project = Project(args)
    name, spec = project.request(args.name).name, project.request(args.name).spec
    assert spec is not None
    with project.provisioner() as provisioner:
        outlook = provisioner.look(name, spec)
    found = {
        "name": name,
        "declared_in": project.declarations.origins.get(name),
        "asked": redact(spec.asked_for()),
        "layers": list(_layers(project, name)),
        **_facts(spec, outlook),
    }
    if args.json:
        say_json(**found)
    else:
        say(*_text(found))
    return 0


def _layers(project: Project, name: str) -> Iterator[dict[str, Any]]:
    """What the declaration is put together from, the weakest first."""
    declared = project.declarations
    stack = list(zip(declared.parts.get(name, ()), declared.stacks.get(name, ()), strict=True))
    if name not in declared.standalone:
        stack.insert(0, ("base", declared.base))
    for part, layer in stack:
        yield {"name": part, "fields": dict(_said(layer))}


def _said(layer: Layer) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(layer):
        value = getattr(layer, field.name)
        if field.name == "variables":
            value = [name for name, _ in value]  # what they are set to may be a secret
        # An empty list of what is passed says that nothing is.
        if value not in (None, "", (), []) or (value == () and field.name == "pass_env"):
            shown = [redact(str(v)) for v in value] if isinstance(value, (tuple, list)) else value
            yield field.name.replace("_", "-"), shown


def _facts(spec: EnvSpec, outlook: Outlook) -> dict[str, Any]:
    pinned, entry = outlook.pinned, outlook.entry
    inputs = pinned.key_inputs() if pinned else {}
    manifest = read_json(entry.directory.parent / "manifest.json") if entry else {}
    return {
        "python": dict(zip(("version", "executable"), outlook.python or (), strict=False)),
        "state": list_.state(spec, outlook),
        "why": outlook.broken or outlook.changes,
        "resolved": pinned.resolved if pinned else None,
        "outdated": outlook.outdated,
        "built": manifest.get("built"),
        "seconds": manifest.get("seconds"),
        "used": (entry.directory.parent / "manifest.json").stat().st_mtime if entry else None,
        "key": pinned.key() if pinned else None,
        "path": str(entry.directory) if entry else None,
        "key_inputs": {name: redact(text) for name, text in inputs.items()},
        "packages": dict(sorted(entry.facts["packages"].items())) if entry else {},
    }


def _text(found: Mapping[str, Any]) -> Iterator[str]:
    yield found["name"]
    yield f"  asked for  {found['asked']}"
    yield f"  declared   {found['declared_in'] or 'nowhere: this is on top of the base'}"
    if found["python"]:
        yield f"  python     {found['python']['version']} ({found['python']['executable']})"
    yield f"  state      {_state(found)}"
    if found["resolved"]:
        yield f"  resolved   {list_.when(found['resolved'], outdated=found['outdated'])}"
    for word in ("key", "path"):
        if found[word]:
            yield f"  {word:<9}  {found[word]}"
    yield "layers of its declaration, the last wins:"
    for layer in found["layers"]:
        fields = "; ".join(f"{key}: {_value(value)}" for key, value in layer["fields"].items())
        yield f"  {layer['name']}: {fields or 'nothing'}"
    if found["key_inputs"]:
        yield "what the key is made of:"
        yield from _columns(found["key_inputs"])
    if found["packages"]:
        yield "what is installed:"
        yield from _columns(found["packages"])


def _state(found: Mapping[str, Any]) -> str:
    if found["built"]:
        built = f"built {ago(found['built'])} in {found['seconds']:.1f} s"
        return f"{found['state']}; {built}; last used {ago(found['used'])}"
    why = f" ({found['why']})" if found["why"] else ""
    return f"{found['state']}{why}"


def _value(value: Any) -> str:
    return ", ".join(value) or "nothing" if isinstance(value, list) else str(value)


def _columns(pairs: Mapping[str, str]) -> Iterator[str]:
    width = max(map(len, pairs))
    for name, text in pairs.items():
        yield f"  {name:<{width}}  {text}"


COMMAND = Command("show", "show what an environment is made of", _act, _arguments)
