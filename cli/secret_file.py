"""A secret that a home keeps in a file: `file:<path>`, or `file:<path>#<field>` of a JSON object."""

import os
from pathlib import Path
from typing import Any

import msgspec

from wordup.errors import ConfigurationError


class SecretFile:
    """Raises ConfigurationError, which names `setting`, where the reference leads elsewhere or cannot be used."""

    def __init__(self, reference: str, setting: str) -> None:
        scheme, _, location = reference.partition(":")
        if scheme != "file":
            raise ConfigurationError(
                setting,
                f"{setting} leads to {scheme or 'nowhere'}, and not to a file of this home.",
                mend="Change that secret where it is kept; --to names a deployment of this program's.",
            )
        path, _, self._field = location.partition("#")
        self._path = Path(path)
        self._setting = setting

    def read(self) -> str:
        """Empty where there is none."""
        if not self._field:
            return self._text()
        value = self._document().get(self._field, "")
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()

    def write(self, text: str) -> None:
        """Whoever reads at the same time sees the old text or the new one, whole."""
        if self._field:
            text = msgspec.json.encode(self._document() | {self._field: _value(text)}).decode()
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(draft, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as error:
            raise self._unusable(error.strerror or "an error") from error
        finally:
            draft.unlink(missing_ok=True)

    def _document(self) -> dict[str, Any]:
        try:
            return msgspec.json.decode(self._text() or "{}", type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise self._unusable("it is no JSON object") from error

    def _text(self) -> str:
        try:
            return self._path.read_text("utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise self._unusable(str(error)) from error

    def _unusable(self, why: str) -> ConfigurationError:
        mend = f"Name another file in {self._setting}, or mend that one."
        return ConfigurationError(self._setting, f"The secret's file {self._path} cannot be used: {why}.", mend=mend)


def _value(text: str) -> Any:
    """A JSON object stands in the document as itself, every other text as text."""
    return msgspec.Raw(text.encode()) if text.startswith("{") else text
