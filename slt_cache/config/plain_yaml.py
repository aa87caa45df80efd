"""Conversion between YAML text and plain values. Reads the core of YAML 1.2, in which `no` is a word, 1e-3 a number and
2026-01-31 text; refuses what no settings file needs: duplicate keys, deep nesting, and aliases that expand
enormously."""

import re
from collections.abc import Hashable
from copy import deepcopy
from functools import lru_cache
from typing import Any, ClassVar

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from slt_cache.errors import InputError

MAX_CHARACTERS = 1_000_000
MAX_DEPTH = 20
"""Largest nesting depth; settings have three levels."""
MAX_NODES = 10_000
"""Largest number of keys and values, with aliases expanded."""

_NUMBER_START = list("-+.0123456789")
_RESOLVERS: list[tuple[str, str, list[str] | None]] = [
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]{1,30}", _NUMBER_START),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        _NUMBER_START,
    ),
    ("merge", r"<<", ["<"]),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
]
"""Tag, pattern and first characters of the scalars that are not text; the first match counts."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, ScalarNode):
                raise InputError(f"line {key_node.start_mark.line + 1}: a key is a word, not a list or a mapping")
            line = key_node.start_mark.line + 1
            if key_node.value in seen and key_node.tag != "tag:yaml.org,2002:merge":
                raise InputError(
                    f"the key {shortened(key_node.value)} is given twice, in lines {seen[key_node.value]} and {line}"
                )
            seen[key_node.value] = line
        return super().construct_mapping(node, deep)

    def construct_decimal(self, node: Any) -> int:
        """Parses an integer as decimal even with leading zeros, which YAML 1.1 reads as octal."""
        return int(self.construct_scalar(node))

    def construct_number(self, node: Any) -> float:
        return float(str(self.construct_scalar(node)).replace(".inf", "inf").replace(".nan", "nan").lower())


class _Dumper(yaml.SafeDumper):
    """Dumper that quotes text which YAML 1.1 or this module would read as something else."""


for _tag, _pattern, _first in _RESOLVERS:
    for _one in (_Loader, _Dumper):
        _one.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_decimal)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)


def load_yaml(text: str) -> Any:
    """Returns the plain value of a YAML text. Raises InputError with a message to follow the file's name."""
    return deepcopy(_value(text))


@lru_cache(maxsize=16)
def _value(text: str) -> Any:
    """Parses the text; a command reads the same settings several times."""
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"longer than {MAX_CHARACTERS:,} characters, longer than any settings file")
    try:
        _require_flat(text)
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _require_small(node)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise InputError(f"not valid YAML ({_reason(error)})") from error


def dump_yaml(value: Any) -> str:
    """Returns YAML text that `load_yaml` reads back as the same value."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def shortened(value: Any, length: int = 60) -> str:
    """Returns a value as shown in a message: on one line, not much longer than `length`."""
    if isinstance(value, str) and len(value) > length:
        return f"{value[: length - 3]!r}..."
    if isinstance(value, list | tuple | dict) and len(value) > 4:
        return f"a {'mapping' if isinstance(value, dict) else 'list'} of {len(value):,} entries"
    if isinstance(value, list | tuple):
        return f"[{', '.join(shortened(one, length // 2) for one in value)}]"[: 4 * length]
    if isinstance(value, dict):
        inner = (f"{shortened(key, length // 2)}: {shortened(one, length // 2)}" for key, one in value.items())
        return f"{{{', '.join(inner)}}}"[: 4 * length]
    return repr(value)[: 2 * length]


def _require_flat(text: str) -> None:
    """Raises InputError for deep nesting, before anything recurses into it."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise InputError(f"line {line}: nested deeper than {MAX_DEPTH} levels")


def _require_small(root: Node) -> None:
    """Raises InputError if the aliases stand for too many values, counting without expanding them."""
    sizes: dict[int, int] = {}

    def size(node: Node) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = MAX_NODES + 1  # an alias inside its own anchor never ends
            inner: list[Node] = []
            if isinstance(node, SequenceNode):
                inner = node.value
            elif isinstance(node, MappingNode):
                inner = [one for pair in node.value for one in pair]
            sizes[id(node)] = 1 + sum(map(size, inner))
        return sizes[id(node)]

    if size(root) > MAX_NODES:
        raise InputError(
            f"its aliases (*name) expand to more than {MAX_NODES:,} values. Write the values out, or use fewer aliases"
        )


def _reason(error: yaml.YAMLError) -> str:
    message = shortened_text(" ".join(str(error).split()))
    if "'\\t'" in message:
        return f"{message}; indent with spaces instead of tabs"
    return message


def shortened_text(text: str, length: int = 300) -> str:
    """Returns the text, truncated to `length` characters."""
    return text if len(text) <= length else f"{text[:length]}..."
