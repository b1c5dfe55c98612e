"""Where images come from, and how they are split, once and for all by a seed.

Row numbers of the training split never change: they are positions in the source's own order (or, with `train_rows`, in
a seeded subset kept in that order). A source is one class, a `Source`; to add one, write it and add one line to
`SOURCES`; other packages call `register`, or name an entry point in the group `unlearning.sources`.
"""

from unlearning.data.base import Source
from unlearning.data.image_data import ImageData
from unlearning.data.image_files import ImageFiles
from unlearning.data.registry import (
    SOURCES,
    available,
    entry,
    is_at_hand,
    is_users_own,
    load,
    load_data,
    recorded_name,
    register,
    summaries,
)
from unlearning.data.settings import DataSettings

__all__ = [
    "SOURCES",
    "DataSettings",
    "ImageData",
    "ImageFiles",
    "Source",
    "available",
    "entry",
    "is_at_hand",
    "is_users_own",
    "load",
    "load_data",
    "recorded_name",
    "register",
    "summaries",
]
