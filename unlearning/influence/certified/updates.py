"""The same problem with changed rows, and the closed-form updates towards its minimum."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from unlearning.errors import InputError
from unlearning.influence.certified._checks import check_labels, finite_array
from unlearning.influence.certified.logistic import LogisticProblem, solve_positive
from unlearning.task import check_rows


def remove_features(problem: LogisticProblem, columns: Sequence[int] | np.ndarray) -> LogisticProblem:
    """Returns the problem with some columns set to zero in every row: `D~` of a feature removal.

    Its minimum equals that of a fit without the columns, which themselves get `-b/lambda`: noise, and no trace of the
    data.

    Passes on an `InputError` if a column does not exist, or none is given.

    Args:
        problem: The problem before.
        columns: Column numbers.
    """
    columns = check_rows("columns", np.asarray(columns), problem.features.shape[1])
    features = problem.features.copy()
    features[:, columns] = 0
    return dataclasses.replace(problem, features=features)


def correct_rows(
    problem: LogisticProblem,
    rows: Sequence[int] | np.ndarray,
    *,
    labels: np.ndarray | None = None,
    features: np.ndarray | None = None,
) -> LogisticProblem:
    """Returns the problem with other labels or features in some rows: `D~` of a correction.

    Args:
        problem: The problem before.
        rows: Distinct row numbers, shape `(changed,)`.
        labels: What they should have been, -1 or 1, shape `(changed,)`; None where they stay.
        features: What they should have been, shape `(changed, features)`; None where they stay.

    Raises:
        InputError: If nothing changes, or shapes and values do not fit.
    """
    rows = check_rows("rows", np.asarray(rows), len(problem.labels))
    if len(np.unique(rows)) != len(rows):
        raise InputError("rows", "distinct row numbers", "repeated rows")
    if labels is None and features is None:
        raise InputError("labels", "corrected labels, corrected features, or both", None)
    new_labels, new_features = problem.labels.copy(), problem.features.copy()
    if labels is not None:
        if np.shape(labels) != rows.shape:
            raise InputError("labels", f"one corrected label a row ({len(rows)})", np.shape(labels))
        check_labels(np.asarray(labels))
        new_labels[rows] = labels
    if features is not None:
        if np.shape(features) != (len(rows), new_features.shape[1]):
            raise InputError("features", f"shape ({len(rows)}, {new_features.shape[1]})", np.shape(features))
        new_features[rows] = finite_array("features", features)
    return dataclasses.replace(problem, features=new_features, labels=new_labels)


def gradient_difference(before: LogisticProblem, after: LogisticProblem, parameters: np.ndarray) -> np.ndarray:
    """Returns `G = grad L(theta; D~) - grad L(theta; D)`, summed over the changed rows, shape `(features,)`.

    Passes on an `InputError` if the problems differ in more than their rows.

    Args:
        before: The problem that was fitted.
        after: The same problem with changed rows.
        parameters: `theta`, shape `(features,)`.
    """
    rows = changed_rows(before, after)
    return after.rows_gradient(parameters, rows) - before.rows_gradient(parameters, rows)


def changed_rows(before: LogisticProblem, after: LogisticProblem) -> np.ndarray:
    """Returns the numbers of the rows in which two problems differ, int64 and ascending.

    Args:
        before: The problem that was fitted.
        after: The same problem with changed rows.

    Raises:
        InputError: If the problems differ in more than their rows.
    """
    if before.features.shape != after.features.shape:
        raise InputError("after", f"features of shape {before.features.shape}", after.features.shape)
    if before.regularisation != after.regularisation or not np.array_equal(before._noise, after._noise):
        raise InputError("after", "the same regularisation and noise as before", "others")
    return np.flatnonzero((before.features != after.features).any(axis=1) | (before.labels != after.labels))


def first_order(
    before: LogisticProblem, after: LogisticProblem, parameters: np.ndarray, learning_rate: float
) -> np.ndarray:
    """Returns `theta - tau G`, shape `(features,)`.

    Args:
        before: The problem that was fitted.
        after: The same problem with changed rows.
        parameters: Its minimum `theta`, shape `(features,)`; not changed.
        learning_rate: `tau`, on the sum over rows.

    Raises:
        InputError: If `learning_rate` is not positive, or the problems differ in more than their rows.
    """
    if not 0 < learning_rate < math.inf:
        raise InputError("learning_rate", "a positive number", learning_rate)
    return parameters - learning_rate * gradient_difference(before, after, parameters)


def second_order(before: LogisticProblem, after: LogisticProblem, parameters: np.ndarray, steps: int = 1) -> np.ndarray:
    """Returns `theta - H^-1 G`, shape `(features,)`, with the Hessian of the changed data.

    Args:
        before: The problem that was fitted.
        after: The same problem with changed rows.
        parameters: Its minimum `theta`, shape `(features,)`; not changed.
        steps: 1 for the closed form. Further steps are Newton steps on the changed data; they converge to retraining.

    Raises:
        InputError: If `steps` is not positive, or the problems differ in more than their rows.
    """
    if steps < 1:
        raise InputError("steps", "a positive integer", steps)
    parameters = parameters - solve_positive(after.hessian(parameters), gradient_difference(before, after, parameters))
    for _ in range(steps - 1):
        parameters = parameters - solve_positive(after.hessian(parameters), after.gradient(parameters))
    return parameters
