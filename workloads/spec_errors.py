"""One line for what pydantic found wrong: file, full key, what was got, what to write instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails

from workloads.yaml_file import Setting

PHRASES = {
    "greater_than": "must be > {gt}",
    "greater_than_equal": "must be ≥ {ge}",
    "less_than": "must be < {lt}",
    "less_than_equal": "must be ≤ {le}",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping (key: value)",
    "model_type": "must be a mapping (key: value)",
    "model_attributes_type": "must be a mapping (key: value)",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "literal_error": "must be {expected}",
    "too_short": "must have {min_length} or more entries",
    "too_long": "must have no more than {max_length} entries",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must match {pattern}",
    "invalid_key": "must have text as keys",
}
MISSING_ADVICE = {
    "conversations.path": "write it there or give --set conversations.path=FILE; "
    "docs/workloads.md (Traces) says where such files come from",
    "conversations.source": "write source: sharegpt-like, fixed or synthetic, or, without source, "
    "trace: and path:",
}
NAMED_MEMBERS = {"conversations": "source"}  # told apart by this key, or by having a `trace`
PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?%")
MAX_GOT_CHARACTERS = 80


def describe(
    error: ValidationError,
    path: Path,
    settings: Sequence[Setting],
    model: type[BaseModel],
    *,
    written_as: Mapping[str, str] | None = None,
) -> str:
    """Returns the first problem, and how many more there are; a misspelt key comes before what it
    leaves missing, which is no problem of its own. `written_as`: keys that stand in the file under
    another one, which the message names."""
    problems = error.errors(include_url=False)
    meant = {_meant(details, model) for details in problems}
    problems = [each for each in problems if each["type"] != "missing" or each["loc"] not in meant]
    first = min(problems, key=lambda each: each["type"] != "extra_forbidden")
    key, text = _as_written(*_problem(first, model), written_as or {})
    num_more = len(problems) - 1
    more = f" (and {num_more} more {'error' if num_more == 1 else 'errors'})" if num_more else ""
    return f"{_where(key, path, settings)}: {text}{more}"


def _as_written(key: str, text: str, written_as: Mapping[str, str]) -> tuple[str, str]:
    """Returns the key and the sentence, which begins with it, by the key that stands in the
    file."""
    for old, new in written_as.items():
        if f"{key}.".startswith(f"{old}."):
            full = f"{new}{key.removeprefix(old)}"
            return full, f"{full}{text.removeprefix(key)}"
    return key, text


def _meant(details: ErrorDetails, model: type[BaseModel]) -> tuple[int | str, ...] | None:
    """Returns where the key would be that a misspelt one was meant to be."""
    if details["type"] != "extra_forbidden":
        return None
    *around, name = details["loc"]
    close = _close(str(name), _place(details["loc"], model).owner)
    return (*around, close) if close else None


def _where(key: str, path: Path, settings: Sequence[Setting]) -> str:
    """Returns the setting that gave the key, or a block around it that was not there; else the
    file."""
    for setting in reversed(settings):
        if setting.covers(key) or setting.key.startswith(f"{key}."):
            return setting.where
    return str(path)


@dataclass(frozen=True, slots=True)
class _Place:
    """The place in the file at which a problem is."""

    key: str  # as a person wrote it, without pydantic's union tags
    kind: Any  # the type expected there
    owner: Any  # the model that has the last key as a field


def _problem(details: ErrorDetails, model: type[BaseModel]) -> tuple[str, str]:
    """Returns the full key, and a sentence about it."""
    kind, place = details["type"], _place(details["loc"], model)
    key = place.key
    if kind == "value_error":
        text = str(details["ctx"]["error"])
        if details["loc"][-1:] == ("[key]",) or not _is_model(place.kind):
            return key, f"{key} {text}"
        # A model's own check speaks of one of its keys, and begins with it.
        text = f"{key}.{text}" if key else text
        return text.partition(" ")[0], text
    if kind.startswith("union_tag"):
        return _member_problem(details, place)
    if details["loc"][-1:] == ("[key]",):  # the key itself says little: YAML's `no` is 0 here
        around = key.rpartition(".")[0]
        got = _shown(details["input"])
        text = f"{around} has a name that YAML does not read as text, got {got}; put it in quotes"
        return around, text
    return key, f"{key} {_sentence(details, place)}"


def _sentence(details: ErrorDetails, place: _Place) -> str:
    kind, got = details["type"], details["input"]
    if kind == "missing":
        return f"is missing{_missing_advice(place)}"
    if kind == "extra_forbidden":
        return f"is unknown; {_nearest(str(details['loc'][-1]), place.owner)}"
    if kind not in PHRASES:
        return f"is refused: {details['msg']}"
    context = {name: _plain(value) for name, value in details.get("ctx", {}).items()}
    return f"{PHRASES[kind].format(**context)}, got {_shown(got)}{_remedy(kind, got, context)}"


def _remedy(kind: str, got: Any, context: dict[str, Any]) -> str:
    """Returns what was most likely meant; empty where that can not be told."""
    advice = ""
    if kind == "literal_error":
        choices = context["expected"].replace(" or ", ", ").split(",")
        advice = _hint(str(got), [choice.strip("' ") for choice in choices])
    elif kind == "string_type" and isinstance(got, dict) and len(got) == 1:
        ((before, after),) = got.items()  # YAML reads `a: b` as a mapping
        advice = f'; put it in quotes: "{before}: {after}"'
    elif kind == "string_type" and isinstance(got, bool | int | float):
        advice = "; put it in quotes"
    elif kind == "int_type" and isinstance(got, float) and got.is_integer():
        advice = f"; write {int(got)}"
    elif kind == "float_type" and isinstance(got, str) and (percent := PERCENT.fullmatch(got)):
        advice = f"; write {float(percent[1]) / 100:g}"
    elif kind == "less_than_equal" and context["le"] == "1" and 2 <= got <= 100:
        advice = f"; if that is percent, write {got / 100:g}"
    return advice


def _member_problem(details: ErrorDetails, place: _Place) -> tuple[str, str]:
    """Returns the full key, and a sentence: the key that tells the members of a union apart is
    missing or holds nothing known."""
    key, got = place.key, details["input"]
    name = NAMED_MEMBERS.get(key, str(details["ctx"]["discriminator"]).strip("'"))
    full = f"{key}.{name}"
    if not isinstance(got, dict):
        return key, f"{key} must be a mapping (key: value), got {_shown(got)}"
    members = [tag for tag in _members(place.kind) or () if f"{key}.{tag}" != "conversations.trace"]
    choices = ", ".join(members)
    if name not in got:
        return full, f"{full} is missing; {MISSING_ADVICE.get(full, f'write one of: {choices}')}"
    if isinstance(got[name], dict) and full in MISSING_ADVICE:
        return full, f"{full} must be text, got a mapping; {MISSING_ADVICE[full]}"
    near = _hint(str(got[name]), members)
    return full, f"{full} must be one of {choices}, got {_shown(got[name])}{near}"


def _place(location: tuple[int | str, ...], model: type[BaseModel]) -> _Place:
    keys: list[str] = []
    kind: Any = model
    owner: Any = model
    for part in location:
        members = _members(kind)
        if members is not None:
            kind = members[str(part)]
        elif part != "[key]":
            keys.append(str(part))
            owner, kind = kind, _inside(kind, part)
    return _Place(".".join(keys), kind, owner)


def _inside(kind: Any, part: int | str) -> Any:
    if _is_model(kind):
        field = kind.model_fields.get(str(part))
        return _bare(_unless_none(field.annotation)) if field else None
    arguments = get_args(kind)
    return _bare(arguments[-1]) if get_origin(kind) in (dict, list) else None


def _unless_none(kind: Any) -> Any:
    """Returns X of `X | None`, and anything else as it is."""
    others = [each for each in get_args(kind) if each is not NoneType]
    return others[0] if len(others) == 1 and NoneType in get_args(kind) else kind


def _members(kind: Any) -> dict[str, Any] | None:
    """Returns the models of a tagged union by tag; None for anything else."""
    models: dict[str, Any] = {}
    for argument in get_args(kind):
        member = _bare(argument)
        if not _is_model(member):
            return None
        tags = [extra.tag for extra in get_args(argument)[1:] if isinstance(extra, Tag)]
        for field in () if tags else member.model_fields.values():
            tags += [tag for tag in get_args(field.annotation) if isinstance(tag, str)][:1]
        models |= dict.fromkeys(tags[:1], member)
    return models or None


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _missing_advice(place: _Place) -> str:
    field = place.owner.model_fields.get(place.key.rpartition(".")[2])
    advice = MISSING_ADVICE.get(place.key) or (field.description if field else None)
    return f"; {advice.rstrip('.')}" if advice else ""


def _nearest(name: str, owner: Any) -> str:
    close = _close(name, owner)
    return f"did you mean {close}?" if close else f"write one of: {', '.join(_keys(owner))}"


def _close(name: str, owner: Any) -> str | None:
    return next(iter(difflib.get_close_matches(name, _keys(owner), n=1)), None)


def _keys(owner: Any) -> list[str]:
    """Returns the keys as a file has them."""
    return [field.alias or name for name, field in owner.model_fields.items()]


def _hint(got: str, choices: list[str]) -> str:
    close = difflib.get_close_matches(got, choices, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _plain(value: Any) -> Any:
    """Returns a bound as people write it: 0, not 0.0."""
    return f"{value:g}" if isinstance(value, float) else value


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= MAX_GOT_CHARACTERS else f"{text[:MAX_GOT_CHARACTERS]}…"
