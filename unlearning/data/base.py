"""What a source of images is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from unlearning.links import real_path

if TYPE_CHECKING:
    from unlearning.data.image_data import ImageData
    from unlearning.data.settings import DataSettings


class Source:
    """Where images come from. A subclass says which texts are its own, and loads them."""

    form: ClassVar[str]
    """What its texts look like, for messages."""
    is_users_own: ClassVar[bool] = False
    """Whether a text names a file or folder of the user's, which may change under one name."""
    is_fallback: ClassVar[bool] = False
    """Whether it is asked only after all others."""
    reads_images: ClassVar[bool] = False
    """Whether image files are read as the settings of `ImageReading` say."""
    draws_rows: ClassVar[bool] = False
    """Whether `load` keeps `train_rows` rows by itself, before it looks for the others."""

    def matches(self, text: str) -> bool:
        """Whether this is a text of its own."""
        raise NotImplementedError

    def recorded_name(self, text: str) -> str:
        """Returns the name under which a set is recorded, which is no path: it also names a folder of results."""
        return real_path(text).stem if self.is_users_own else text.replace(":", "-")

    def is_at_hand(self, text: str, data_dir: str | None) -> bool:
        """Whether loading downloads nothing."""
        return True

    def load(self, text: str, settings: DataSettings) -> ImageData:
        """Loads and splits the set.

        Raises:
            InputError: If there is none, or its content is not a classified image set.
        """
        raise NotImplementedError
