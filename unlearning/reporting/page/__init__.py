"""One self-contained HTML page on experiment folders: finished ones, and those that a sweep is still filling."""

from unlearning.reporting.page.render import write_report

__all__ = ["write_report"]
