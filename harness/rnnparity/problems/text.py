"""Numbers that were written as text: tables (CSV and alike), and lists in brackets.

A table has a row a line. Brackets are those of JSON, Python, NumPy's print, and arrays in C. What
the numbers are worth, and to which digit they are known: `saved`.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from rnnparity.errors import UsageError, one_line

# A number: its digits before the point, those behind it, and the exponent.
NUMBER = re.compile(r"[+-]?(\d*)\.?(\d*)(?:[eEdD]([+-]?\d+))?")
_NO_NUMBER = {"nan", "inf", "infinity"}
# How Microsoft's C library writes what is no number.
_MICROSOFT = re.compile(r"1\.#(INF)?[A-Z]*\d*|nan\((?:s?nan|ind)\)", re.IGNORECASE)
# With a decimal comma; and such that cannot be two integers: integers have no leading zeros, and
# a zero no sign.
_COMMA = re.compile(r"[+-]?\d+(,\d+)?([eE][+-]?\d+)?")
_NO_INTEGERS = re.compile(r"-0,|[+-]?\d+,0\d")
_BEGINS = re.compile(r"\s*[\[{]")
# What comes in front of an array with a name: `y = [`, `float y[3][4] = {`, `let y: [f32; 3] = [`,
# `y = np.array([`, `y = new float[][] {`; the bracket is one that a number begins.
_NAMED = re.compile(
    r"(\w+)\s*(?::[^=\n{]*|(?:\[[^\[\]{}]*\]\s*)*)=[\w\s.\[\]]*?\(?\s*"
    r"(?=[\[{][\s\[{]*[-+.\dnNiI])"
)
# Rows that semicolons part, as in MATLAB.
_ROWS = re.compile(r"\[([^\[\]{}]*;[^\[\]{}]*)\]")
_CALLED = re.compile(r"\s*(?:\w+\.)?(?:array|tensor)\(\s*(?=\[)")
_REMARK = re.compile(r"/\*.*?\*/|//[^\n]*|#[^\n]*", re.DOTALL)
_TOKEN = re.compile(r"[\[\]{}]|[^\s,\[\]{}]+")


class Words(NamedTuple):
    """Numbers as they were written, their array's shape, and what was taken for granted."""

    words: list[str]
    shape: tuple[int, ...]
    note: str = ""


def read(text: str) -> dict[str, Words]:
    """Return arrays by name; of one without a name, by "".

    Raises:
        UsageError: something in it is no number, or rows are not of one length.
    """
    text = _MICROSOFT.sub(lambda found: "inf" if found[1] else "nan", text)
    if _BEGINS.match(text):
        try:
            held = json.loads(
                text, parse_float=str, parse_int=str, parse_constant=str, object_hook=_listed
            )
        except ValueError:  # another language's, or damaged
            pass
        else:
            return _named(held)
    if "[" in text or "{" in text:
        bare = _REMARK.sub(lambda found: "\n" * found[0].count("\n"), text)
        found = _in_brackets(_ROWS.sub(_nested, bare))
        if found:
            return found
    return {"": _table(text.splitlines())}


def _in_brackets(bare: str) -> dict[str, Words]:
    """Return the arrays in brackets of a text without remarks; {} if it is none of such."""
    heads = list(_NAMED.finditer(bare)) if "=" in bare else []
    if heads:
        ends = [*(head.start() for head in heads[1:]), len(bare)]
        return {
            head[1]: _array(_bracketed(bare[head.end() : end], bare.count("\n", 0, head.end())))
            for head, end in zip(heads, ends, strict=True)
        }
    begun = _CALLED.match(bare) or _BEGINS.match(bare)
    if not begun:
        return {}
    start = begun.end() - (bare[begun.end() - 1] in "[{")
    return {"": _array(_bracketed(bare[start:], bare.count("\n", 0, start)))}


def is_number(word: str) -> bool:
    """Whether a word is a number, or says that it is none (nan, inf)."""
    bare = word.lstrip("+-").lower()
    match = NUMBER.fullmatch(word)
    return bare in _NO_NUMBER or bool(match and (match[1] or match[2]))


def _listed(held: dict[str, Any]) -> Any:
    """Return a typed array of JavaScript's, {"0": ..., "1": ...} in JSON, as a list."""
    is_typed = list(held) == [str(k) for k in range(len(held))]
    return [*held.values()] if is_typed else held


def _named(held: Any) -> dict[str, Words]:
    """Return the arrays of a JSON document: one, or several by name."""
    if not isinstance(held, dict):
        return {"": _array(held)}
    found = {name: _array(value) for name, value in held.items() if isinstance(value, list)}
    if not found:
        raise UsageError(f"has no array under {', '.join(list(held)[:8])}")
    return found


def _nested(rows: re.Match[str]) -> str:
    parts = rows[1].rstrip("; \n").split(";")
    return f"[{''.join(f'[{part}]' for part in parts)}]"


def _array(nested: Any) -> Words:
    """Return what nested lists of words hold.

    Raises:
        UsageError: rows are of different lengths, or what is there is no number.
    """
    shape: tuple[int, ...] = ()
    rows: list[Any] = [nested]
    while rows and all(isinstance(row, list) for row in rows):
        lengths = sorted({len(row) for row in rows})
        if len(lengths) > 1:
            raise UsageError(f"has rows of {lengths[0]} and of {lengths[-1]} in its brackets")
        shape += (lengths[0],)
        rows = [one for row in rows for one in row]
    wrong = [one for one in rows if not (isinstance(one, str) and is_number(one))]
    if wrong or not rows:
        told = one_line(json.dumps(wrong[0]), 20) if wrong else "nothing"
        raise UsageError(f"has {told} in its brackets, expected numbers")
    return Words(rows, shape)


def _bracketed(text: str, lines: int) -> Any:
    """Return what stands in brackets as nested lists; of several after each other, their list.

    Args:
        text: begins with a bracket.
        lines: that come before it.

    Raises:
        UsageError: brackets do not match, or what is there is no number.
    """
    every: list[Any] = []
    open_ = [every]
    for token, position in _tokens(text):
        if token in "[{":
            open_[-1].append([])
            open_.append(open_[-1][-1])
        elif token in "]}" and len(open_) > 1:
            open_.pop()
        elif len(open_) > 1 or is_number(token):
            number = token.rstrip("fFlL") if token[-1:] in "fFlL" else token
            word = number if NUMBER.fullmatch(number) else token
            if not is_number(word) or len(open_) == 1:
                line = lines + text.count("\n", 0, position) + 1
                raise UsageError(f"line {line} has {token[:20]!r}, expected numbers in brackets")
            open_[-1].append(word)
    if len(open_) > 1:
        raise UsageError("has a bracket that is not closed: is the whole array there?")
    return every[0] if len(every) == 1 else every


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    for match in _TOKEN.finditer(text):
        yield match[0], match.start()


def _table(lines: list[str]) -> Words:
    """Read a table: one row a line, split at commas, semicolons or blanks.

    A first line of words is a heading; what follows a `#` is a remark. pandas writes the
    numbers of columns first, and a column of the numbers of rows under no name: both are left out.
    """
    bare = [(number, line.partition("#")[0].strip()) for number, line in enumerate(lines, 1)]
    note, column = "", [line for _, line in bare if line]
    column = column[column != [] and not re.search(r"\d", column[0]) :]  # without a heading
    if all(map(_COMMA.fullmatch, column)) and any(map(_NO_INTEGERS.match, column)):
        bare = [(number, line.replace(",", ".")) for number, line in bare]
        note = "its commas are read as decimal ones"
    rows: list[tuple[int, list[str]]] = []
    indexed = False
    for number, line in bare:
        words = _split(line)
        if not rows and not indexed and len(words) > 1 and not words[0]:
            indexed = True
        elif words and (rows or any(map(is_number, words))):
            rows.append((number, words))
    if not rows:
        raise UsageError("has no numbers")
    if indexed:
        if [row[0] for _, row in rows] != [str(k) for k in range(len(rows))]:
            raise UsageError("has a first column without a name, expected numbers: leave it out")
        rows = [(number, row[1:]) for number, row in rows]
        note = "its first column, the numbers of rows, is left out"
    width = len(rows[0][1])
    columns = [str(k) for k in range(width)]
    if width > 1 and rows[0][1] == columns and len(rows) > 1 and _are_fractions(rows[1:]):
        rows = rows[1:]
        note = "its first line, the numbers of columns, is left out"
    for number, words in rows:
        wrong = next((word for word in words if not is_number(word)), None)
        if wrong is not None:
            raise UsageError(f"line {number} has {wrong[:20]!r}, expected numbers")
        if len(words) != width:
            raise UsageError(f"line {number} has {len(words)} numbers, line {rows[0][0]} {width}")
    return Words([word for _, row in rows for word in row], (len(rows), width), note)


def _are_fractions(rows: list[tuple[int, list[str]]]) -> bool:
    """Whether all numbers are written as fractions, so that a line of integers is none of them."""
    words = [word.lower() for _, row in rows for word in row]
    return all("." in word or "e" in word or "n" in word for word in words)


def _split(line: str) -> list[str]:
    """Split a line of a table.

    A comma is a decimal one where semicolons or tabs part numbers, or blanks do without it.
    """
    for separator in (";", "\t"):
        if separator in line:
            words = [word.strip().replace(",", ".") for word in line.split(separator)]
            break
    else:
        words = line.split()
        if "," in line and (len(words) < 2 or not all(map(_COMMA.fullmatch, words))):
            words = [word.strip() for word in line.split(",")]
        else:
            words = [word.replace(",", ".") for word in words]
    if words and not words[-1]:
        words.pop()  # a separator at the end of the line
    return [word.strip("\"'") for word in words]
