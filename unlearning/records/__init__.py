"""The JSON records."""

from unlearning.records.records import *  # noqa: F403
