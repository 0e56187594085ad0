"""Settings of the user's jobs: pydantic models that refuse what they do not know, in YAML and out."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from typing_extensions import Self

from giblet.errors import InputError, reading

LOUDEST = 200.0
"""dB, up or down: more than any sound or its quiet parts have, so that whoever says more means something else."""
LONGEST = 80
"""Characters of a value that a message shows."""


NEEDED = {
    "a mapping of options": ("model_type", "model_attributes_type", "dict_type"),
    "a path": ("path_type",),
    "a list": ("tuple_type", "list_type"),
    "text": ("string_type",),
    "a whole number": ("int_type", "int_parsing", "int_from_float"),
    "a number": ("float_type", "float_parsing"),
    "true or false": ("bool_type", "bool_parsing"),
}
MEANT = {error: f"{what} is needed" for what, errors in NEEDED.items() for error in errors}
"""What pydantic's sorts of errors mean to who writes YAML."""
NAMED: dict[type, str] = {dict: "a mapping", list: "a list", tuple: "a list"}


class Settings(BaseModel):
    """Base of all settings: unknown options are errors, values do not change after they are made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
            raise InputError("; ".join(map(cls._explain, own))) from exc

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Settings from a YAML file.

        Parameters
        ----------
        path : str or Path

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
        return cls.make(**options_in(path))

    def to_yaml(self) -> str:
        """The settings as YAML text that :meth:`from_yaml` reads.

        Returns
        -------
        str
        """
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    @classmethod
    def _explain(cls, error: Any) -> str:
        name = ".".join(map(str, error["loc"]))
        if error["type"] == "extra_forbidden":
            known = cls._owner(error["loc"]).model_fields
            near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            return f"there is no option {name}; {hint}"
        said = MEANT.get(error["type"]) or f"{error['msg'][0].lower()}{error['msg'][1:]}".removeprefix("value error, ")
        if error["type"] == "too_short":
            said = f"at least {error['ctx']['min_length']} is needed"
        if error["type"] == "string_pattern_mismatch":
            said = cls._allowed(error["loc"]) or said
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
            if isinstance(part, str):
                owner = next(_models_in(owner.model_fields[part].annotation), owner)
        return owner


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
    with reading(f"settings from {path}", "a YAML file of options is needed"):
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise InputError(f"{path} {_held(values)}: a YAML mapping of options is needed, such as 'tr: 1.5'")
    if odd := [name for name in values if not isinstance(name, str)]:
        raise InputError(f"{path} has an option {odd[0]!r}: names of options are words")
    return values


def check_gain(gain: Any) -> float | Literal["peak"]:
    """A gain in dB, or the word "peak".

    Parameters
    ----------
    gain : float, int or str
        In dB, as a number or as text, or ``"peak"``.

    Returns
    -------
    float or "peak"
        In dB.

    Raises
    ------
    ValueError
        If it is neither, or beyond 200 dB up or down.

    Examples
    --------
    >>> check_gain("-6"), check_gain("peak")
    (-6.0, 'peak')
    """
    if gain == "peak":
        return "peak"
    try:
        decibels = float("nan" if isinstance(gain, bool) else gain)
    except (TypeError, ValueError):
        decibels = float("nan")
    if not abs(decibels) <= LOUDEST:
        raise ValueError(f"a number of dB from -{LOUDEST:g} to {LOUDEST:g}, or 'peak', is needed")
    return decibels


Gain = Annotated[float | Literal["peak"], BeforeValidator(check_gain)]
"""By how many dB sound is made louder; "peak": as many as bring its loudest sample to full scale."""


class ExtractSettings(Settings):
    """What turns a film into audio features. Same film, same settings, same codec: same file."""

    tr: float = Field(1.5, gt=0, allow_inf_nan=False, description="repetition time of the scan, s")
    n_trs: int | None = Field(None, ge=1, description="volumes of the scan; default: as many as the film fills")
    use_encodec: bool = Field(True, description="codec codes; False: the legacy mel spectrogram")
    codec: str = Field("bundled", description="'bundled', a transformers EnCodec folder, or a hub name")
    bandwidth: float = Field(6.0, description="kbps: 1.5, 3, 6, 12 or 24, as far as the codec has codebooks")
    track: int | None = Field(None, ge=0, description="which audio track of the film, from 0; default: the first")
    gain: Gain = Field(0.0, description="dB by which the sound is made louder; 'peak': to full scale")
    n_mels: int = Field(2048, ge=1, description="mel bands of the legacy mode")
    mel_average: bool = Field(False, description="legacy mode: keep the mean of each TR only")
    device: str = Field("auto", description="'auto', 'cpu', 'cuda' or 'mps'")

    def provenance(self) -> dict[str, Any]:
        """The settings that decide what the features are; the codec is known by its fingerprint instead.

        Returns
        -------
        dict of str to object
            Options by name, without the device, the codec's name, and those that only the other kind of feature uses;
            without the gain where it is 0 dB.
        """
        unused = {"n_mels", "mel_average"} if self.use_encodec else {"bandwidth"}
        if self.gain == 0:
            unused.add("gain")
        return self.model_dump(exclude={"device", "codec", *unused})
