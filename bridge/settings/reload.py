"""Settings while the bridge runs: which files a section names, and the section rebuilt from their present content."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from bridge.settings.file_watch import ReloadError
from bridge.settings.messages import Key, dotted, error_lines, settings_of
from bridge.settings.types import Section

SectionT = TypeVar("SectionT", bound=Section)


def files_of(key: Key, section: Section) -> dict[str, Path]:
    """Return every file that the section at this place names itself: wallet.ca_file -> its path."""
    paths = {name: getattr(section, name) for name, setting in settings_of(type(section)).items() if setting.is_path}
    return {dotted((*key, name)): path for name, path in paths.items() if path is not None}


def read_again(section: SectionT) -> SectionT:
    """Return a section rebuilt from what was given for it: its files are read again and must pass every check.

    Tables below it stay as they are. Raise ReloadError, which holds nothing of any file.
    """
    given = {name: _as_given(getattr(section, name)) for name in section.model_fields_set}
    try:
        return type(section).model_validate(given)
    except ValidationError as error:
        problem = "; ".join(error_lines(error, settings_of(type(section)), {}))
    # Raised out here, so that no exception hangs on it that knows the values.
    raise ReloadError(problem)


def _as_given(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(id_): table for id_, table in value.items()}
    return list(value) if isinstance(value, tuple) else value
