"""Where images come from, how they are split, and how they are fed to training."""

from unlearning.data.sources import ImageData, load_data

__all__ = ["ImageData", "load_data"]
