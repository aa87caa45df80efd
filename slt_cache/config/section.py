"""Base class of all sections: unknown keys are refused, and `off` is read as null or false."""

from collections.abc import Sequence, Set
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


Probability = Annotated[float, Field(ge=0.0, lt=1.0)]


def expanded(path: str) -> str:
    """Returns a path with `~` or `~name` at its beginning replaced by that home folder, if there is one."""
    try:
        return str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError:
        return path


def _switch(value: Any) -> Any:
    """Converts YAML 1.1's other words for true and false, which would otherwise be taken for folder names."""
    words = {"yes": True, "on": True, "no": False, "off": False}
    return words.get(value.lower(), value) if isinstance(value, str) else value


PathName = Annotated[str, AfterValidator(expanded)]
"""Path, or another name that does not begin with `~`."""


class Section(BaseModel):
    """Section of settings, strict and frozen: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, values: Any) -> Any:
        """Refuses true and false for numbers by turning them into words; pydantic would accept them as 1 and 0."""
        if not isinstance(values, dict):
            return values
        return {
            name: str(value).lower() if _is_wrong_switch(cls, name, value) else value for name, value in values.items()
        }


def _is_wrong_switch(section: type[Section], name: Any, value: Any) -> bool:
    if not isinstance(value, bool) or name not in section.model_fields:
        return False
    return not {bool, str} & set(_kinds(section.model_fields[name].annotation))


def _kinds(annotation: Any) -> list[Any]:
    """Returns the types that an annotation allows."""
    inner = get_args(annotation)
    return [annotation] if not inner else [kind for one in inner for kind in _kinds(one)]


def require_init_from(init_from: str | None, init_without: Sequence[str]) -> None:
    """Raises ValueError if parts are to be left out of a training that is not named."""
    if init_without and init_from is None:
        raise ValueError("init_without names parts of init_from, which is not set")


def _without_off(section: Section, later: Set[str]) -> dict[str, Any]:
    """Returns the settings, omitting those in `later` that are off (false or 0)."""
    return {name: value for name, value in section.model_dump(mode="json").items() if value or name not in later}
