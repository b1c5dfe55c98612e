"""The command that measures what a language model learns by heart, and how well it forgets."""

from __future__ import annotations

import sys
from typing import Any

from unlearning.cli.choices import methods_option, overrides_option, take_choices, variant_option
from unlearning.cli.group import json_option, main, prepare, print_json, quiet_option, say
from unlearning.cli.looks import option, together
from unlearning.cli.options import options_of
from unlearning.experiments.memorisation.settings import LanguageModelSettings, MemorisationSettings, TextSettings


@main.command(
    examples=(
        "memorise",
        "memorise --seeds 0,1,2 --methods second-order,fine-tuning",
        "memorise --times 1,100 --digits 6 --dry-run",
    )
)
@options_of(TextSettings, heading="Text")
@options_of(LanguageModelSettings, heading="Model and training")
@together(
    methods_option(
        "first-order,second-order,fine-tuning,retraining",
        "Any of `list methods` that take flagged rows, in this order. fine-tuning gets the processor time of "
        "second-order.",
    ),
    overrides_option("Change a setting of a method; repeatable. `list methods NAME` shows them."),
    variant_option,
    heading="Repairs",
)
@together(
    options_of(MemorisationSettings, {"seeds"}),
    option("--dry-run", is_flag=True, help="List what is done and what is there; compute nothing."),
    option("--threads", type=int, metavar="N", help="Size of TensorFlow's thread pools [default: processor cores]."),
    heading="Running",
)
@together(options_of(MemorisationSettings, {"output"}), json_option, quiet_option, heading="Output")
def memorise(as_json: bool, quiet: bool, dry_run: bool, threads: int | None, **options: Any) -> None:
    """Train a language model on a book with secrets in it, and make it forget them.

    Sentences with a random number ("canaries") are put into Alice's Adventures in Wonderland, which a small recurrent
    network learns, character by character. Each method gets the rows that the numbers touch, with other digits in their
    place. The exposure of the numbers (Carlini et al. 2019) and the perplexity of the rest of the book are measured
    before and after. What is already there is found again; an interrupted run continues.
    """
    settings = _settings(options)
    prepare(quiet, threads)
    from unlearning.experiments.grid.signals import Stopped, stopping_on_signals
    from unlearning.experiments.memorisation import running
    from unlearning.reporting.tables.memorisation import format_memorisation
    from unlearning.reporting.tables.text import terminal_width

    if dry_run:
        listed = [{"stage": one.name, "there": one.find() is not None} for one in running.plan(settings)]
        if as_json:
            print_json(listed)
        else:
            say("\n".join(f"{one['stage']}: {'there' if one['there'] else 'to be made'}" for one in listed))
        return
    try:
        with stopping_on_signals():
            results = list(running.run(settings))
    except Stopped as stopped:
        say(str(stopped), err=True)
        sys.exit(stopped.exit_code)
    if as_json:
        print_json(list(results))
    else:
        say(format_memorisation(results, terminal_width()))
        say(f"\nFiles: {settings.output}")


def _settings(options: dict[str, Any]) -> MemorisationSettings:
    """Returns the settings that the options describe."""
    names = [name for name in options.pop("method_names").split(",") if name]
    overrides, variant = options.pop("overrides"), options.pop("variant")
    given = {name: value for name, value in options.items() if value is not None}
    return MemorisationSettings(methods=take_choices(names, overrides, variant), **given)
