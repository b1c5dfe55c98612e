"""Rows that are not in memory, or not yet: arrays in files, and batches."""

from unlearning.data.streamed.batched import as_classes, gather, is_batched
from unlearning.data.streamed.on_disk import RowsOnDisk, chunks, from_mapping, open_rows

__all__ = ["RowsOnDisk", "as_classes", "chunks", "from_mapping", "gather", "is_batched", "open_rows"]
