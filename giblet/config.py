"""Settings of the user's jobs: pydantic models that refuse what they do not know, in YAML and out."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from giblet.cells import decoded
from giblet.errors import InputError, reading
from giblet.lazy import lazily
from giblet.renamed import now_called
from giblet.storage import local_path, taking_urls
from giblet.urls import in_urls, is_url

LONGEST = 80
"""Characters of a value that a message shows."""
LONGEST_NAME = 255
"""Characters of the name of a file or folder: no file system has more."""
MOST_VALUES = 1_000_000
"""Values of a YAML file with its aliases written out: a few lines of aliases of aliases stand for billions."""


NEEDED = {
    "a mapping of options": ("model_type", "model_attributes_type", "dict_type"),
    "a path": ("path_type",),
    "a list": ("tuple_type", "list_type"),
    "text": ("string_type",),
    "a whole number": ("int_type", "int_parsing", "int_from_float"),
    "a number": ("float_type", "float_parsing"),
    "true or false": ("bool_type", "bool_parsing"),
}
MEANT = {error: f"expected {what}" for what, errors in NEEDED.items() for error in errors}
"""What pydantic's sorts of errors mean to who writes YAML."""
KEY = "[key]"
"""What pydantic puts at the end of the place of a name that is not allowed in a mapping."""
TAGS = re.compile(r"\[key\]|constrained-\w+|literal\[.*\]|function-.*")
"""What it puts into a place that is no name of an option: which of several types was tried."""
NAMED: dict[type, str] = {dict: "a mapping", list: "a list", tuple: "a list"}


class Settings(BaseModel):
    """Base of all settings: unknown options are errors, values do not change after they are made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    renamed: ClassVar[dict[str, str]] = {}
    """Today's names of options by those they had before. An old name is an error that says the new one, but in what
    giblet itself has stored: see :meth:`in_todays_words`."""

    @field_validator("*", mode="after")
    @classmethod
    def _paths_of_urls(cls, value: Any) -> Any:
        if isinstance(value, Path):
            return local_path(value) if is_url(value) else value
        if isinstance(value, dict):
            return {name: cls._paths_of_urls(one) for name, one in value.items()}
        return tuple(map(cls._paths_of_urls, value)) if isinstance(value, tuple) else value

    @model_serializer(mode="wrap")
    def _urls_of_paths(self, plain: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
        """In JSON, and so in YAML and in what is compared with it, what stands at a URL is called by it."""
        return plain(self) if info.mode != "json" else _by_urls(plain(self))

    @model_validator(mode="after")
    def _paths_are_of_files(self) -> Self:
        for name, value in self:
            several = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple) else (value,)
            for one in several:
                if isinstance(one, Path) and (
                    "\0" in str(one) or len(max(one.parts, key=len, default="")) > LONGEST_NAME
                ):
                    raise ValueError(f"{name} is {str(one)[:40]!r}...: no file can be called so")
        return self

    @classmethod
    def make(cls, **values: Any) -> Self:
        """Settings from keyword values.

        Parameters
        ----------
        **values
            Options by name.

        Returns
        -------
        Settings
            Of the class that it is called on.

        Raises
        ------
        InputError
            In one line: which option, the value found, what is allowed; for an unknown option the nearest known one.
        """
        try:
            return cls(**values)
        except ValidationError as exc:
            errors = exc.errors()
            places = [error["loc"] for error in errors]
            # Of a list with a bad item pydantic says too that it is too short.
            own = [
                error
                for error, place in zip(errors, places, strict=True)
                if not any(len(other) > len(place) and other[: len(place)] == place for other in places)
            ]
            raise InputError("; ".join(_together(map(cls._explain, _each_once(own))))) from exc

    @classmethod
    def from_yaml(cls, path: str | Path, *, stored: bool = False) -> Self:
        """Settings from a YAML file.

        Parameters
        ----------
        path : str or Path
        stored : bool
            The file was written by giblet itself, perhaps when options had other names: those are read too.

        Returns
        -------
        Settings
            Of the class that it is called on.

        Raises
        ------
        InputError
            If the file cannot be read, is not a YAML mapping, or holds an option that does not exist or a value that is
            not allowed.
        """
        values = options_in(path)
        return cls.make(**cls.read_beside(path, cls.in_todays_words(values) if stored else values))

    @classmethod
    def read_beside(cls, path: str | Path, values: dict[str, Any]) -> dict[str, Any]:
        """Options of a YAML file, with what they take from other files beside it; here they take nothing.

        Parameters
        ----------
        path : str or Path
            The YAML file.
        values : dict
            Its options.

        Returns
        -------
        dict
        """
        return values

    @classmethod
    def in_todays_words(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Options that giblet stored, under the names that they have now.

        Parameters
        ----------
        values : mapping
            Plain values by name of option, as :meth:`to_yaml` writes them.

        Returns
        -------
        dict
            The same values; those that go by an old name, here or in a section, have today's.
        """
        today = {}
        for old, value in values.items():
            name = cls.renamed.get(old, old)
            field = cls.model_fields.get(name)
            section = None if field is None else next(_models_in(field.annotation), None)
            if section is not None and issubclass(section, Settings):
                if isinstance(value, Mapping):
                    value = section.in_todays_words(value)
                elif isinstance(value, (list, tuple)):
                    value = [section.in_todays_words(v) if isinstance(v, Mapping) else v for v in value]
            today[name] = value
        return today

    def to_yaml(self) -> str:
        """The settings as YAML text that :meth:`from_yaml` reads.

        Returns
        -------
        str
        """
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    @classmethod
    def _explain(cls, error: Any) -> str:
        place = tuple(part for part in error["loc"] if not (isinstance(part, str) and TAGS.fullmatch(part)))
        name = ".".join(map(str, place))
        if error["type"] == "extra_forbidden":
            owner, last = cls._owner(place), str(place[-1])
            if issubclass(owner, Settings) and last in owner.renamed:
                return now_called(name, f"{name.removesuffix(last)}{owner.renamed[last]}")
            known = owner.model_fields
            near = difflib.get_close_matches(last, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            return f"there is no option {name}; {hint}"
        said = MEANT.get(error["type"]) or f"{error['msg'][0].lower()}{error['msg'][1:]}".removeprefix("value error, ")
        if error["type"] == "too_short":
            said = f"expected at least {error['ctx']['min_length']}"
            if error["input"] == {}:
                return f"{name} is empty: {said}"
        if error["type"] == "string_pattern_mismatch":
            said = cls._allowed(place) or said
            if error["loc"][-1] == KEY:
                said = f"letters{', digits and _' if '_' in error['ctx']['pattern'] else ' and digits'} are allowed"
        whole = isinstance(error["input"], (dict, BaseModel))
        if error["type"] == "missing" or (whole and error["type"] == "value_error"):
            return f"{name}: {said}" if name else said  # the value is the section that lacks it
        found = repr(error["input"])
        if whole or (len(found) > LONGEST and not isinstance(error["input"], str)):
            found = NAMED.get(type(error["input"]), type(error["input"]).__name__)
        return f"{name} is {found if len(found) <= LONGEST else found[: LONGEST - 3] + '...'}: {said}"

    @classmethod
    def _allowed(cls, place: tuple[str | int, ...]) -> str | None:
        """What the description of an option says of it."""
        option = cls._owner(place).model_fields.get(str(place[-1]))
        return None if option is None or option.description is None else f"{option.description} are allowed"

    @classmethod
    def _owner(cls, place: tuple[str | int, ...]) -> type[BaseModel]:
        """The settings that an option at this place would belong to: these, or a part of them."""
        owner: type[BaseModel] = cls
        for part in place[:-1]:
            if isinstance(part, str) and part in owner.model_fields:  # else a name of the user's, as of a band
                owner = next(_models_in(owner.model_fields[part].annotation), owner)
        return owner


def _by_urls(plain: Any) -> Any:
    if isinstance(plain, dict):
        return {name: _by_urls(one) for name, one in plain.items()}
    if isinstance(plain, (list, tuple)):
        return [_by_urls(one) for one in plain]
    return in_urls(plain) if isinstance(plain, str) else plain


def _each_once(errors: Iterable[Any]) -> list[Any]:
    """Errors, of an unknown option that all items of a list have, such as all runs, the first."""
    found: dict[Any, Any] = {}
    for error in errors:
        place = error["loc"]
        if error["type"] == "extra_forbidden":
            place = tuple("" if isinstance(part, int) else part for part in place)
        found.setdefault((error["type"], place), error)
    return list(found.values())


def _together(told: Iterable[str]) -> list[str]:
    """Messages, those of one option and one value as one."""
    found: dict[str, list[str]] = {}
    for one in told:
        about, colon, said = one.partition(": ")
        found.setdefault(about + colon, []).append(said)
    return [about + ", or ".join(said) for about, said in found.items()]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The settings classes that a field's type mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _held(values: Any) -> str:
    """What a YAML file holds, if not a mapping."""
    if values is None:
        return "is empty"
    return f"holds {NAMED.get(type(values), 'one value, ' + repr(values)[:LONGEST])}"


class _EachOnce(yaml.SafeLoader):
    """YAML in which a name that stands twice in one mapping is an error, and the former does not vanish."""

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None and _written_out(node, {}) > MOST_VALUES:
            raise ValueError(f"aliases (*name) of aliases stand for over {MOST_VALUES} values")
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            at = next(key.start_mark.line for key, _ in reversed(node.value) if key.value == twice)
            raise InputError(f"{twice} stands twice, again in line {at + 1}: give each option, and each band, one name")
        return super().construct_mapping(node, deep)


def _written_out(node: yaml.Node, known: dict[int, float]) -> float:
    """How many values a node holds if what its aliases stand for is written out; infinity, if one holds itself."""
    if id(node) not in known:
        known[id(node)] = math.inf  # until it is known, so that one that holds itself stays so
        inside: list[Any] = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [part for one in inside for part in (one if isinstance(one, tuple) else (one,))]
        known[id(node)] = 1 + sum(_written_out(part, known) for part in parts)
    return known[id(node)]


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | str:
    """A whole number; one with zeros before it is a label, and stays as it is written: YAML would read 010 as 8."""
    return str(node.value) if re.fullmatch(r"0\d+", node.value) else loader.construct_yaml_int(node)


_EachOnce.add_constructor("tag:yaml.org,2002:int", _number)


@taking_urls("path")
def options_in(path: str | Path) -> dict[str, Any]:
    """The options that a YAML file holds, by name, as they stand there.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    dict of str to object

    Raises
    ------
    InputError
        If the file cannot be read or is not a YAML mapping of words.
    """
    with reading(f"settings from {path}", "expected a YAML file of options"):
        values = yaml.load(decoded(Path(path)), _EachOnce)  # a safe loader
    if not isinstance(values, dict):
        raise InputError(f"{path} {_held(values)}; expected a YAML mapping of options, such as 'tr: 1.5'")
    if odd := [name for name in values if not isinstance(name, str)]:
        raise InputError(f"{path} has an option {odd[0]!r}: option names must be words")
    return values


if not TYPE_CHECKING:
    __getattr__ = lazily(__name__, {}, renamed={"ExtractSettings": "giblet.data.audio.AudioSettings"})[0]
