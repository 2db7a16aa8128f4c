"""Typed settings from YAML: defaults in code, then the recipe file, then `--set a.b=value`, each checked.

Both packages describe their recipes as subclasses of `Settings`; an unknown key is an error that names the nearest.
"""

from __future__ import annotations

import difflib
import sysconfig
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from hatch_data.errors import SettingsError


class Settings(BaseModel):
    """A group of settings: frozen, and closed to keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Settings)


def resolve(name: str | Path, folder: str = "") -> Path:
    """The file of a recipe given by path, or by name among those that travel with the package (`recipes/`).

    `folder` is where below `recipes/` names are looked for.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = shipped_recipes() / folder
    for candidate in (shipped / path, shipped / f"{path}.yaml"):
        if candidate.is_file():
            return candidate
    known = sorted(p.stem for p in shipped.glob("*.yaml"))
    near = difflib.get_close_matches(path.stem, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"shipped recipes: {', '.join(known)}"
    raise SettingsError(f"{name}: no such recipe file; {hint}")


def shipped_recipes() -> Path:
    """The folder of recipes: beside the package in a checkout, else where the wheel put it."""
    checkout = Path(__file__).parents[1] / "recipes"
    installed = Path(sysconfig.get_path("data")) / "share" / "hatch-spatial" / "recipes"
    return checkout if checkout.is_dir() else installed


def load(kind: type[S], path: Path | None, overrides: tuple[str, ...] | list[str] = ()) -> S:
    """Settings of type `kind` from a YAML file (or none) with `key.sub=value` overrides applied in order.

    `key.sub=value` of a setting that is a mapping changes its default where the file leaves it out; `key={...}`
    replaces it. Raises `SettingsError` naming the file and the key.
    """
    tree = _read_yaml(path) if path else {}
    for override in overrides:
        _set(kind, tree, override)
    return validate(kind, tree, str(path) if path else "settings")


def validate(kind: type[S], tree: dict[str, Any], where: str) -> S:
    """Check a plain tree of settings. `where` opens the error message."""
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise SettingsError(f"{where}: {' '.join(_explain(kind, error).split())}") from None


def to_yaml(settings: Settings) -> str:
    """The settings in full, defaults included, as YAML that `load` reads back."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(tree, dict):
        raise SettingsError(f"{path}: a recipe is a mapping of keys to values; this file holds {type(tree).__name__}")
    return tree


def _set(kind: type[Settings], tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise SettingsError(f"--set {override}: write it as key.sub=value")
    *parents, last = key.strip().split(".")
    group: Any = kind
    for parent in parents:
        field = _field(group, parent)
        default = field.get_default(call_default_factory=True) if field else None
        branch = tree.setdefault(parent, dict(default) if isinstance(default, dict) else {})
        if not isinstance(branch, dict):
            raise SettingsError(f"--set {override}: '{parent}' holds a value, not a group of settings")
        tree, group = branch, field and field.annotation
    last = next((known for known in tree if str(known) == last), last)  # Keys may be numbers.
    try:
        tree[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise SettingsError(f"--set {override}: '{text}' is not a YAML value") from None


def _explain(kind: type[Settings], error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _keys_beside(kind, first["loc"])
        near = difflib.get_close_matches(str(first["loc"][-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"
        return f"unknown key '{key}'; {hint}"
    return f"'{key}': {first['msg'][:1].lower()}{first['msg'][1:]} (got {first['input']!r})"


def _keys_beside(kind: type[Settings], location: tuple[int | str, ...]) -> list[str]:
    group: Any = kind
    for part in location[:-1]:
        field = _field(group, part)
        group = field and field.annotation
        if not hasattr(group, "model_fields"):
            return []
    return list(group.model_fields)


def _field(group: Any, name: int | str) -> FieldInfo | None:
    """The setting of that name where `group` is a type of settings that has one."""
    return getattr(group, "model_fields", {}).get(name)
