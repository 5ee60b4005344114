"""What a part of the package can be told: a class whose fields are YAML keys, command-line options and keywords."""

from __future__ import annotations

import argparse
import contextlib
import inspect
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from recbole_ext.errors import ConfigurationError
from recbole_ext.wording import in_words

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
"""What NumPy's generator takes."""


class CheckedSettings(BaseModel):
    """Immutable settings; an unknown key or a value of another type is an error that names it.

    A field's docstring is its help. A tuple becomes an option that takes several values, a flag ``--key`` and
    ``--no-key``; :func:`mapping` makes one that takes YAML.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    yaml_only: ClassVar[Collection[str]] = ()
    """Fields that are no options."""

    @classmethod
    def checked(cls, given: Mapping[str, Any], where: str) -> Self:
        """The settings that ``given`` names, the rest by default.

        Raises:
            ConfigurationError: an unknown key or a value out of range; names ``where`` and the key.
        """
        try:
            return cls.model_validate(dict(given), context={"where": where})
        except ValidationError as error:
            known = list(cls.model_fields)
            said = in_words(error, lambda _: known, lambda _: f"Known: {', '.join(known)}.")
            raise ConfigurationError(f"{where}: {said}") from error

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and bool not in _kinds(cls.model_fields[str(info.field_name)].annotation):
            raise ValueError("yes and no mean nothing here")
        return value


def where_of(info: ValidationInfo) -> str:
    """In a validator: what the mapping is called that is being checked, with the key."""
    where = (info.context or {}).get("where")
    return f"{where}: {info.field_name}" if where else str(info.field_name)


def mapping(value: Any) -> Any:
    """A mapping, or the YAML of one as it is written on the command line: ``{encoder: minilm}``."""
    if isinstance(value, str):
        with contextlib.suppress(yaml.YAMLError):
            value = yaml.safe_load(value)
    if not isinstance(value, Mapping):
        raise ValueError("a mapping is needed here, such as {encoder: minilm}")
    return value


def add_options(
    parser: argparse._ActionsContainer,
    settings: Mapping[str, type[CheckedSettings]],
    only: Collection[str] | None = None,
    leave_out: Collection[str] = (),
) -> None:
    """Add an option for every field of these classes; ``settings`` maps what a class is called in the help to it.

    Options that are not on the command line are not in the parsed namespace.
    """
    owners: dict[str, list[str]] = {}
    for owner, part in settings.items():
        for name in part.model_fields:
            if name not in {*leave_out, *part.yaml_only} and (only is None or name in only):
                owners.setdefault(name, []).append(owner)
    for name, of in owners.items():
        field = settings[of[0]].model_fields[name]
        helps: dict[str, list[str]] = {}
        for owner in of:
            helps.setdefault(_help(settings[owner].model_fields[name]), []).append(owner)
        said = " ".join(text if len(helps) == 1 else f"{', '.join(owners)}: {text}" for text, owners in helps.items())
        if len(of) < len(settings):
            said = f"[{', '.join(of)}] {said}"
        kinds = _kinds(field.annotation)
        choices = sorted(kind for kind in kinds if isinstance(kind, str))
        how: dict[str, Any] = {"metavar": "|".join(choices) if choices else name.upper()}
        if bool in kinds:
            how = {"action": argparse.BooleanOptionalAction}
        elif tuple in kinds:
            how |= {"nargs": "+", "action": "extend"}
        texts = {f"--{name}": argparse.SUPPRESS, f"--{name.replace('_', '-')}": said.replace("%", "%%")}
        for flag, text in texts.items():
            parser.add_argument(flag, dest=name, default=argparse.SUPPRESS, help=text, **how)


def given_options(options: argparse.Namespace, settings: Iterable[type[CheckedSettings]]) -> dict[str, Any]:
    """What of these classes' options is on the command line, by field."""
    names = dict.fromkeys(name for part in settings for name in part.model_fields if name not in part.yaml_only)
    return {name: getattr(options, name) for name in names if hasattr(options, name)}


Function = TypeVar("Function", bound=Callable[..., Any])


class _Absent:
    """What a keyword is that was not given and has no one default, as a signature shows it."""

    def __repr__(self) -> str:
        return "<absent>"


ABSENT = _Absent()


def with_keywords_of(*settings: type[CheckedSettings]) -> Callable[[Function], Function]:
    """A decorator: the function's signature shows the fields of these classes in place of its ``**keywords``.

    So they are completed and looked up in a notebook; a field that has no default, or not the same in all classes, is
    shown as absent. The docstring says which class has which.
    """

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        own = [part for part in signature.parameters.values() if part.kind is not inspect.Parameter.VAR_KEYWORD]
        taken = {part.name for part in own}
        keywords: dict[str, inspect.Parameter] = {}
        for part in settings:
            types = typing.get_type_hints(part)  # without pydantic's annotations
            for name, field in part.model_fields.items():
                default = ABSENT if field.is_required() else field.get_default(call_default_factory=True)
                if name in keywords and keywords[name].default != default:
                    default = ABSENT
                if name not in taken:
                    of_keyword = inspect.Parameter.KEYWORD_ONLY
                    keywords[name] = inspect.Parameter(name, of_keyword, default=default, annotation=types[name])
        of_classes = [f"    {part.__name__}: {', '.join(part.model_fields)}." for part in settings]
        function.__doc__ = "\n".join([inspect.getdoc(function) or "", "", "Keywords of:", *of_classes])
        function.__signature__ = signature.replace(parameters=[*own, *keywords.values()])  # type: ignore[attr-defined]
        return function

    return decorate


def _help(field: FieldInfo) -> str:
    text = (field.description or "").replace("``", "").replace("\n", " ")
    says_nothing = field.is_required() or field.default is None or field.default is False or field.default == ()
    return text if says_nothing else f"{text} Default: {field.default}."


def _kinds(annotation: Any) -> set[Any]:
    """The types that an annotation is made of, generic ones without their arguments, and the words that it allows."""
    origin = typing.get_origin(annotation)
    if origin is None:
        return {annotation}
    if origin in (tuple, list, dict):
        return {origin}
    if origin is Literal:
        return set(typing.get_args(annotation))
    return {kind for part in typing.get_args(annotation) for kind in _kinds(part)}
