"""What is wrong with a user's words: what pydantic finds (the key, what is wanted there, what was given), and slips."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pydantic import ValidationError

_WANTED = {
    "list": "a list",
    "tuple": "a list",
    "dict": "a mapping",
    "mapping": "a mapping",
    "model": "a mapping",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "path": "a path",
}
"""By the first word of pydantic's error types: ``int_parsing``, ``int_type``, ``int_from_float``."""
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}

Location = list[str]


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "", cutoff: float = 0.6) -> str:
    """``Did you mean 'epochs'?``, with the closest of the known words; ``otherwise`` where none is close.

    A word that differs by its case alone is the closest.

    Args:
        cutoff: how close it must be, from 0 to 1.
    """
    words = list(known)
    close = [other for other in words if other.lower() == word.lower()]
    close = close or difflib.get_close_matches(word, words, n=1, cutoff=cutoff)
    return f"Did you mean {close[0]!r}?" if close else otherwise


def some(tokens: Sequence[Any], shown: int = 5) -> str:
    """The first few of them, for a message."""
    rest = len(tokens) - shown
    return ", ".join(map(str, tokens[:shown])) + (f" and {rest:,} more" if rest > 0 else "")


def listed(words: Sequence[str]) -> str:
    """``a``; ``a and b``; ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def duration(seconds: float) -> str:
    """Seconds in the unit that reads best."""
    for unit, length, digits in (("days", 86400.0, 1), ("h", 3600.0, 1), ("min", 60.0, 0)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.{digits}f} {unit}"
    return f"{seconds:.0f} s"


def in_words(
    error: ValidationError, known: Callable[[Location], Iterable[str]], rest: Callable[[Location], str] = lambda _: ""
) -> str:
    """A clause for each key that is wrong.

    Args:
        known: the keys that there are beside the one at a location.
        rest: what to add where an unknown key is close to none of them.
    """
    clauses: dict[str, list[str]] = {}
    for problem in error.errors():
        # Of a field that may be of several types pydantic adds the type that it tried, such as list[any].
        tried = {str((problem.get("ctx") or {}).get("class_name"))}
        location = [str(part) for part in problem["loc"] if "[" not in str(part) and part not in tried]
        if problem["type"] == "extra_forbidden":
            hint = did_you_mean(location[-1], known(location), rest(location))
            said = f"unknown key. {hint}".rstrip()
        else:
            said = _said(problem)
        clauses.setdefault(".".join(location), []).append(said)
    return "; ".join(f"{key}: {', or '.join(said)}" if key else ", or ".join(said) for key, said in clauses.items())


def _said(problem: Any) -> str:
    kind, context, given = problem["type"], problem.get("ctx") or {}, problem["input"]
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        message = problem["msg"].removeprefix("Value error, ")
        says_it = not problem["loc"] or isinstance(given, dict) or repr(given) in message
        return message if says_it else f"{message}; got {given!r}"
    if kind == "too_short":
        least = context["min_length"]
        return f"at least {least} {'entry is' if least == 1 else 'entries are'} needed; got {given!r}"
    if kind == "literal_error":
        return f"one of {context['expected'].replace(chr(39), '')} is needed; got {given!r}"
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        limit = context[bound]
        return f"{words} {limit if isinstance(limit, int) else f'{limit:g}'} is needed; got {given!r}"
    if kind == "finite_number":
        return f"a finite number is needed; got {given!r}"
    wanted = _WANTED.get(kind.split("_")[0])
    if wanted is None:
        return f"{problem['msg']}; got {given!r}"
    example = f", such as [{given}]" if wanted == "a list" and isinstance(given, int | float | str) else ""
    return f"{wanted} is needed{example}; got {given!r}"
