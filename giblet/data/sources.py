"""What extractors of one kind of source have in common: that of sound and that of picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from giblet.data.media import AudioReader
from giblet.data.picture import PictureReader


class FromSound:
    """An extractor that reads the sound of a film; its settings have a ``track``."""

    source_noun: ClassVar[str] = "film"
    padding: ClassVar[str] = "silence"

    @classmethod
    def check_source(cls, path: Path, settings: Any) -> float | None:
        """Raise if a film's sound cannot be read, before a codec or a model is loaded for it.

        Parameters
        ----------
        path : Path
            The film.
        settings : ExtractionSettings
            Of the extractor's `settings_type`.

        Returns
        -------
        float or None
            Seconds of sound; None where the film does not say.

        Raises
        ------
        InputError
            If the film cannot be read, or has no sound.
        """
        return AudioReader(path, track=settings.track).duration_hint


class FromPicture:
    """An extractor that reads the picture of a film; its settings have a ``track``, on which film zero depends."""

    source_noun: ClassVar[str] = "film"

    @classmethod
    def check_source(cls, path: Path, settings: Any) -> float | None:
        """Raise if a film's picture cannot be read, before a model is loaded for it.

        Parameters
        ----------
        path : Path
            The film.
        settings : ExtractionSettings
            Of the extractor's `settings_type`.

        Returns
        -------
        float or None
            Seconds of film; None where it does not say.

        Raises
        ------
        InputError
            If the film cannot be read, or has no picture.
        """
        return PictureReader(path, settings.track).info.duration_hint
