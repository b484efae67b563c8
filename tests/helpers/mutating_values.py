"""Values of YAML and JSON as accidents and malice make them; see `mutating` for the rest."""

import json
from collections.abc import Callable
from typing import Any

import yaml

from helpers.mutating import FLOATS, LETTERS, NUMBERS, WORDS, Rng, mutated_bytes, mutated_text, one_of


def other_value(value: Any, rng: Rng) -> Any:
    """A value in the place of another: of another type, too large, or of the same type but wrong."""
    return one_of(
        rng,
        (
            None,
            one_of(rng, (True, False)),
            one_of(rng, NUMBERS),
            one_of(rng, FLOATS),
            one_of(rng, WORDS),
            one_of(rng, LETTERS) + (value if isinstance(value, str) else "x"),
            [value],
            [value, value],
            [],
            {},
            {"name": value},
            {one_of(rng, WORDS): value},
            [[one_of(rng, NUMBERS)], {"a": [one_of(rng, FLOATS)]}],
            nested(value, int(rng.integers(2, 60))),
            str(value),
            mutated_text(value, rng) if isinstance(value, str) else value,
            -value if isinstance(value, int | float) else value,
        ),
    )


def nested(value: Any, depth: int) -> Any:
    """A value in so many lists."""
    for _ in range(depth):
        value = [value]
    return value


def changed_once(value: Any, rng: Rng) -> Any:
    """A copy of nested plain data that is changed in one place: a value, a key, an item more or fewer."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.1:
        return other_value(value, rng)
    keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = one_of(rng, keys)
    if rng.random() < 0.7:
        inner = changed_once(value[key], rng)
        return {**value, key: inner} if isinstance(value, dict) else [*value[:key], inner, *value[key + 1 :]]
    if isinstance(value, list):
        return one_of(
            rng, (value[:key] + value[key + 1 :], [*value, value[key]], value * 50, [*value, other_value(0, rng)])
        )
    rest = {one: item for one, item in value.items() if one != key}
    word = one_of(rng, (*WORDS, str(key)[:-1], str(key).upper()))
    return one_of(rng, (rest, {**rest, word: value[key]}, {**value, word: other_value(value[key], rng)}))


def mutated_value(value: Any, rng: Rng) -> Any:
    """Nested plain data changed in one to three places."""
    for _ in range(int(rng.integers(1, 4))):
        value = changed_once(value, rng)
    return value


def bomb(depth: int) -> str:
    """Ten lists of ten lists of ...: some lines of YAML that stand for 10 ** `depth` values."""
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, depth)]
    return "\n".join(lines)


def merged_bomb(depth: int) -> str:
    """The same with mappings that are merged."""
    lines = ["m0: &m0 {a: 1, b: 2, c: 3}"]
    lines += [f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 10)}], k{i}: 1}}" for i in range(1, depth)]
    return "\n".join(lines)


YAML_TRICKS: tuple[Callable[[str, str], str], ...] = (
    lambda text, key: f"{text}\n{bomb(12)}\n",
    lambda text, key: f"{bomb(12)}\n{key}: *l11\n",
    lambda text, key: f"{text}\n{merged_bomb(9)}\n",
    lambda text, key: f"{text}\n{key}: 1\n",  # twice
    lambda text, key: f"{text}\n&a {key}x: *a\n",
    lambda text, key: f"{key}: &a [*a]\n{text}",  # holds itself
    lambda text, key: f"{text}\nz: !!python/object/apply:os.system ['touch /tmp/dmx-fuzz-was-here']\n",
    lambda text, key: f"{text}\nz: !!python/name:os.system\n",
    lambda text, key: f"{text}\nz: !!binary R0lGODlhAQ==\n",
    lambda text, key: f"{text}\nz: !!set {{a, b}}\n",
    lambda text, key: f"{text}\nz: !!int notanumber\n",
    lambda text, key: f"{text}\nz: !!timestamp 2024-99-99\n",
    lambda text, key: f"{text}\nz: {'[' * 20_000}\n",
    lambda text, key: f"{text}\nz: {'{a: ' * 20_000}\n",
    lambda text, key: f"{text}\nz: {'- ' * 5_000}1\n",
    lambda text, key: f"{text}\nz: {'9' * 5_000}\n",  # more digits than Python turns into a number
    lambda text, key: f"{text}\nz: 1{'_0' * 5_000}\n",
    lambda text, key: f"{text}\nz: {'1' * 400}e{'9' * 10}\n",
    lambda text, key: f"{text}\nz: 190:20:30{':59' * 2_000}\n",  # YAML 1.1 counts to the base of 60
    lambda text, key: f"{text}\n---\n{text}",
    lambda text, key: f"{text}\n? [a, b]\n: 1\n",
    lambda text, key: f"{text}\n? {{a: 1}}\n: 1\n",
    lambda text, key: f"{text}\n1: 1\ntrue: 2\nnull: 3\n2024-01-01: 4\n",
    lambda text, key: f"%YAML 9.9\n---\n{text}",
    lambda text, key: f"{text}\n<<: {key}\n",
    lambda text, key: "".join(f"k{i}: {i}\n" for i in range(3_000)) + text,
)


def mutated_yaml(value: dict[str, Any], rng: Rng) -> bytes:
    """A YAML file: values changed, letters changed, bytes changed, or a trick of YAML's own."""
    kind = rng.random()
    if kind < 0.55:
        return dumped(mutated_value(value, rng))
    if kind < 0.75:
        return mutated_text(dumped(value).decode(), rng).encode("utf-8", "surrogatepass")
    if kind < 0.85:
        return mutated_bytes(dumped(value), rng)
    key = one_of(rng, list(value))
    return one_of(rng, YAML_TRICKS)(dumped(value).decode(), key).encode()


def dumped(value: Any) -> bytes:
    """As YAML, whatever it is."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass")


JSON_TRICKS: tuple[bytes, ...] = (
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"9" * 5_000,
    b'{"a": ' + b"9" * 5_000 + b"}",
    b"1e999",
    b"null",
    b"[]",
    b"{}",
    b'"text"',
    b"",
    b"\xff\xfe{\0}\0",
    b"\xef\xbb\xbf{}",
    b'{"a": "\\ud800"}',
)


def mutated_json(value: Any, rng: Rng) -> bytes:
    """A JSON file: values changed, letters changed, bytes changed, or something else altogether."""
    kind = rng.random()
    if kind < 0.6:
        return json.dumps(mutated_value(value, rng)).encode()
    text = json.dumps(value, indent=1)
    if kind < 0.75:
        return mutated_text(text, rng).encode("utf-8", "surrogatepass")
    return mutated_bytes(text.encode(), rng) if kind < 0.9 else one_of(rng, JSON_TRICKS)
