"""Inputs as accidents, other programs and malice make them: whole ones changed at random, the same for the same seed.

Every function takes a generator of NumPy: `np.random.default_rng((seed, index))` makes input `index` of a series again.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Rng = np.random.Generator

NUMBERS = (0, -1, 1, 2, 7, 255, 256, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, -(2**63) - 1, 10**9, 10**30)
FLOATS = (0.0, -0.0, 0.5, 1.5, -1e-300, 5e-324, 1e308, float("inf"), float("-inf"), float("nan"))
LETTERS = (
    "\0",
    "\n",
    "\r\n",
    "\t",
    "\x1b[31m",
    "\x7f",
    "\u0085",
    "\u202e",
    "\ud800",
    "\ufeff",
    "é",
    "日本",
    "🙂",
    "'",
    '"',
)
WORDS = (
    *(
        "",
        " ",
        ".",
        "..",
        "/",
        "~",
        "-",
        "--",
        "-1",
        "*",
        "%",
        "%s",
        "{}",
        "{0}",
        "$HOME",
        "null",
        "true",
        "no",
        "1e999",
    ),
    *(
        "NaN",
        "0x10",
        "1_000",
        "12:30",
        "2024-01-01",
        "name",
        "auto",
        "none",
        "../../etc/passwd",
        "/dev/null",
        "/dev/zero",
    ),
    *("file:///etc/passwd", "a" * 300, "a/" * 3000, "ä" * 100_000, "[" * 2000, "<script>alert(1)</script>", "a,b\nc,d"),
)
MAGICS = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff\xe0",
    b"PK\x03\x04",
    b"PAR1",
    b"ARROW1\0\0",
    b"\x80\x04",
    b"\x89HDF\r\n",
    b"II*\0",
)
"""How files of other formats begin: PNG, JPEG, zip, Parquet, Arrow, pickle, HDF5, TIFF."""


def one_of(rng: Rng, choices: Sequence[Any]) -> Any:
    """One of them, as it is: `rng.choice` would make arrays of them."""
    return choices[int(rng.integers(len(choices)))]


def place(rng: Rng, length: int) -> int:
    """A place between two bytes of so many; often near an end, where formats keep what they go by."""
    near = int(rng.integers(0, min(length, 64) + 1))
    return one_of(rng, (near, length - near, int(rng.integers(0, length + 1))))


def flipped(data: bytes, rng: Rng) -> bytes:
    """With a few bits turned over."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        if changed:
            changed[min(place(rng, len(changed)), len(changed) - 1)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def truncated(data: bytes, rng: Rng) -> bytes:
    """Without its end."""
    return data[: place(rng, len(data))]


def beheaded(data: bytes, rng: Rng) -> bytes:
    """Without its beginning."""
    return data[place(rng, len(data)) :]


def repeated(data: bytes, rng: Rng) -> bytes:
    """With a part of it standing twice or more often."""
    start, end = sorted((place(rng, len(data)), place(rng, len(data))))
    part = data[start : min(end, start + 4096)]
    return data[:end] + part * int(rng.integers(1, 9)) + data[end:]


def spliced(data: bytes, rng: Rng) -> bytes:
    """With the bytes of one place written over another."""
    start, end = place(rng, len(data)), place(rng, len(data))
    part = data[start : start + int(rng.integers(1, 65))]
    return data[:end] + part + data[end + len(part) :]


def zeroed(data: bytes, rng: Rng) -> bytes:
    """With a hole, as a loss of power leaves it."""
    start = place(rng, len(data))
    length = min(int(rng.integers(1, 4097)), len(data) - start)
    return data[:start] + bytes(length) + data[start + length :]


def with_noise(data: bytes, rng: Rng) -> bytes:
    """With some bytes of anything put in."""
    start = place(rng, len(data))
    return data[:start] + rng.bytes(int(rng.integers(1, 65))) + data[start:]


def with_magic(data: bytes, rng: Rng) -> bytes:
    """Beginning as a file of another format."""
    magic = one_of(rng, MAGICS)
    return magic + data[len(magic) * int(rng.integers(2)) :]


def with_false_length(data: bytes, rng: Rng) -> bytes:
    """With a number of 2, 4 or 8 bytes, most likely a length somewhere, that claims too much or too little."""
    size = one_of(rng, (2, 4, 8))
    number = one_of(rng, (0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1))
    start = min(place(rng, len(data)), max(0, len(data) - size))
    return (
        data[:start] + (number % 2 ** (8 * size)).to_bytes(size, one_of(rng, ("little", "big"))) + data[start + size :]
    )


def emptied(data: bytes, rng: Rng) -> bytes:
    """Nothing, or nothing but zeros."""
    return bytes(len(data) * int(rng.integers(2)))


BYTES: tuple[Callable[[bytes, Rng], bytes], ...] = (
    *(flipped, truncated, beheaded, repeated, spliced, zeroed, with_noise, with_magic, with_false_length, emptied),
)


def mutated_bytes(data: bytes, rng: Rng) -> bytes:
    """A file that something happened to, once to three times."""
    for _ in range(int(rng.integers(1, 4))):
        data = one_of(rng, BYTES)(data, rng)
    return data


def mutated_text(text: str, rng: Rng) -> str:
    """A text in which letters, words or lines changed; as a rule it can still be written as UTF-8."""
    for _ in range(int(rng.integers(1, 4))):
        start, end = sorted((place(rng, len(text)), place(rng, len(text))))
        end = min(end, start + 40)
        lines = text.split("\n")
        line = int(rng.integers(len(lines)))
        text = one_of(
            rng,
            (
                text[:start] + one_of(rng, LETTERS[:8]) + text[start:],
                text[:start] + one_of(rng, LETTERS[9:]) + text[end:],
                text[:start] + one_of(rng, WORDS) + text[end:],
                text[:start] + text[end:],
                text[:end] + text[start:end] + text[end:],
                "\n".join(lines[:line] + lines[line + 1 :]),
                "\n".join(lines[: line + 1] + lines[line:]),
                "\n".join(
                    [*lines[:line], one_of(rng, (" ", "  ", "\t", "- ", "#", ":")) + lines[line], *lines[line + 1 :]]
                ),
                "\n".join([lines[line], *lines]),
            ),
        )
    return text


def mutated_csv(rows: Sequence[Sequence[str]], rng: Rng) -> bytes:
    """A table of comma-separated values: cells, rows, columns, letters or bytes changed."""
    table = [list(row) for row in rows]
    row, column = int(rng.integers(len(table))), int(rng.integers(len(table[0])))
    kind = rng.random()
    if kind < 0.3:
        table[row][column] = one_of(rng, WORDS)
    elif kind < 0.4:
        table[row][column] = one_of(rng, ('"', '"' * 3, "\0", "a\nb", '"a\nb"', "x" * 200_000, "﻿id"))
    elif kind < 0.5:
        table.append(list(one_of(rng, table)))
    elif kind < 0.6:
        for one in table:
            one.insert(column, one_of(rng, (one[column], *WORDS[:8])))
    elif kind < 0.65:
        table = [one[:column] + one[column + 1 :] for one in table]
    elif kind < 0.7:
        del table[row]
    text = "\n".join(",".join(one) for one in table) + "\n"
    if kind < 0.7:
        return text.encode("utf-8", "surrogatepass")
    if kind < 0.85:
        return mutated_text(text, rng).encode("utf-8", "surrogatepass")
    return mutated_bytes(text.encode(), rng)


def mutated_arguments(tokens: Sequence[str], rng: Rng) -> list[str]:
    """A command line with tokens left out, doubled, changed, or put in."""
    changed = list(tokens)
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(changed) + 1))
        here = changed[at] if at < len(changed) else ""
        new = one_of(
            rng, (*WORDS, *LETTERS[:9], str(one_of(rng, NUMBERS)), str(one_of(rng, FLOATS)), mutated_text(here, rng))
        )
        changed = one_of(
            rng,
            (
                changed[:at] + changed[at + 1 :],
                [*changed[:at], here, *changed[at:]],
                [*changed[:at], new, *changed[at:]],
                [*changed[:at], new, *changed[at + 1 :]],
                [*changed[:at], here[:-1], *changed[at + 1 :]],
            ),
        )
    return [token.replace("\0", "") for token in changed]  # the system itself lets no NUL through
