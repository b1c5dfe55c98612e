"""What numbers are made with, for the records."""

from __future__ import annotations

import platform

from unlearning.records import Environment
from unlearning.startup import device_names, pool_size, tensorflow_version


def describe_environment() -> Environment:
    """Returns versions, device and thread count of this process."""
    import keras
    import numpy as np

    names = device_names()
    return Environment(
        python=platform.python_version(),
        tensorflow=tensorflow_version(),
        keras=keras.__version__,
        numpy=np.__version__,
        device=", ".join(names) if names else f"CPU ({platform.machine()})",
        threads=pool_size(),
        floats=keras.config.floatx(),
    )
