"""Labels of entries that are read one by one, before it is known whether they are numbers or names of classes."""

from smalti.errors import SourceError

__all__ = ["Labels"]

_MAX_CLASSES = 1 << 16


class Labels:
    """The labels of all images: integers, or texts if any of them is a text.

    More than 65,536 different texts are no classes, and become a field.
    """

    def __init__(self) -> None:
        self._different: set[int | str] = set()
        self._has_text = False
        self._names: tuple[str, ...] | None = None

    @property
    def has_any(self) -> bool:
        """Whether any image has a label."""
        return bool(self._different)

    @property
    def state_classes(self) -> bool:
        """Whether labels, or class names in a file, state the classes; then folders are no classes."""
        return self.has_any or self._names is not None

    @property
    def are_field(self) -> bool:
        """Whether labels are no classes, and become a field."""
        return self._has_text and len(self._different) > _MAX_CLASSES

    def see(self, label: int | str | None) -> None:
        """Note the label of an image."""
        if label is None:
            return
        self._has_text |= isinstance(label, str)
        if len(self._different) <= _MAX_CLASSES:
            self._different.add(label)

    def plain(self, label: int | str | None) -> int | str | None:
        """Return the label of an image, as a text if any label is a text."""
        return str(label) if self._has_text and label is not None else label

    def name_them(self, names: tuple[str, ...], where: str) -> None:
        """Note the class names that a file states; SourceError if a file before stated others."""
        if self._names not in (None, names):
            raise SourceError(f"{where}: has other class names than the files before; give them one by one")
        self._names = names

    def class_names(self) -> tuple[str, ...] | None:
        """Return the class names: the stated ones, or the texts; None if labels are numbers without names."""
        if self.are_field:
            return None
        return tuple(sorted(map(str, self._different))) if self._has_text else self._names
