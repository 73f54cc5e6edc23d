"""What a parser may give in the place of a dict of labels."""

from __future__ import annotations

from typing import Protocol


class LabelSource(Protocol):
    """Labels that are made when somebody asks for them; a parser may give one in the place of a dict.

    It gives the same answers for ever.

    A source may also offer ``packed_labels() -> bytes`` (see ``otus_core.packed_labels``), from which reports are
    written without making the dict.
    """

    def label(self, name: str) -> str | None:
        """Give one label, ``None`` where it does not apply."""
        ...

    def labels(self) -> dict[str, str]:
        """Give all labels that apply, in a dict of the caller's own."""
        ...
