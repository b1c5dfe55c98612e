"""The table of an experiment on memorisation: what secrets and the rest of the text are to each repaired model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from unlearning.records import MemorisationResults
from unlearning.reporting.tables.text import WIDTH, prose, render, set_apart, spread

AS_TRAINED = "(as trained)"


def describe_memorisation(results: Sequence[MemorisationResults]) -> pd.DataFrame:
    """Returns a table of text with one row a model, mean ± standard deviation over seeds.

    Args:
        results: Of any seeds, which share everything else.
    """
    training = {found.config.seed: found for found in results if found.repair is None}
    named: dict[str, list[MemorisationResults]] = {}
    for found in results:
        named.setdefault(_name(found), []).append(found)
    rows = []
    for name, of in named.items():
        row = {"model": name}
        for place, canary in enumerate(of[0].canaries):
            row[f"{canary.times} times"] = _spread([found.canaries[place].bits for found in of])
        row["likeliest bits"] = _spread([min(one.log_perplexity for one in found.canaries) for found in of])
        row["perplexity"] = _spread([found.test_perplexity for found in of], digits=2)
        row["accuracy, %"] = _spread([100 * found.test_accuracy for found in of])
        row["cpu s"] = _spread([found.cpu_s for found in of], digits=0)
        trained = [training[found.config.seed].cpu_s for found in of if found.config.seed in training]
        shares = [100 * found.cpu_s / cpu for found, cpu in zip(of, trained, strict=True) if cpu] if trained else []
        row["% of training"] = _spread(shares, digits=0)
        refused = sum(not found.outcome.applied for found in of if found.outcome is not None)
        row["taken"] = "-" if of[0].outcome is None else f"{len(of) - refused}/{len(of)}"
        rows.append(row)
    return pd.DataFrame(rows)


def format_memorisation(results: Sequence[MemorisationResults], width: int = WIDTH) -> str:
    """Formats results as a table, with a line that says how to read it.

    Args:
        results: See `describe_memorisation`; at least one.
        width: Columns of the terminal.

    Returns:
        The text.
    """
    frame = describe_memorisation(results)
    spare = ("taken", "accuracy, %", "% of training", "likeliest bits")
    frame, above = set_apart(frame, {"taken": ""})
    most, seeds = results[0].canaries[0].most_bits, {found.config.seed for found in results}
    legend = (
        f"... times: exposure, in bits, of the secret that stands so often in the training text. {most:.1f}: it is the "
        "likeliest of all; about 1: like any other. likeliest bits: minus the binary logarithm of the probability of "
        "the secret that is said most readily. perplexity and accuracy: of each character of the test text, which has "
        f"no secrets. {len(seeds)} seed{'s' * (len(seeds) > 1)}."
    )
    return "\n".join([*([above] if above else []), render(frame, "model", width, spare), "", *prose(legend, width)])


def _name(found: MemorisationResults) -> str:
    if found.repair is None:
        return AS_TRAINED
    return f"{found.repair.method}-{found.repair.variant}" if found.repair.variant else found.repair.method


def _spread(values: Sequence[float], digits: int = 1) -> str:
    if not values:
        return "-"
    if digits == 1:
        return spread(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)
    text = f"{np.mean(values):.{digits}f}"
    return text if len(values) < 2 else f"{text} ± {np.std(values, ddof=1):.{digits}f}"
