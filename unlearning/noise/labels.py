"""Label noise: synthetic flips of nine kinds, and the mistakes people really made."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from unlearning.archives import read_arrays
from unlearning.errors import InputError, invalid
from unlearning.noise.corruption import Corruption, Request, require_in_memory
from unlearning.noise.recorded import example_numbers
from unlearning.task import Split

CIFAR10_MAP = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}
"""truck to automobile, bird to airplane, deer to horse, cat and dog to each other (Patrini et al., CVPR 2017)."""

# The superclass of each CIFAR-100 class, in label order (Krizhevsky, 2009).
_CIFAR100_SUPERCLASS = (
    *(4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11),
    *(6, 11, 5, 10, 7, 6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5),
    *(5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4, 18, 17),
    *(10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13),
    *(16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13),
)

HUMAN_KEYS = ("worse_label", "aggre_label", "random_label1", "random_label2", "random_label3")
"""The labellings in a CIFAR-10N file."""


def cifar100_map() -> dict[int, int]:
    """Returns the next class within its superclass for each CIFAR-100 class, cyclically in label order."""
    superclass = np.array(_CIFAR100_SUPERCLASS)
    following: dict[int, int] = {}
    for group in range(20):
        members = np.flatnonzero(superclass == group)
        following.update(zip(members.tolist(), np.roll(members, -1).tolist(), strict=True))
    return following


def flip_pairs(request: Request) -> Corruption:
    """Exchanges classes `s` and `K-1-s`: `budget // K` rows of every class, first come in one random order.

    This is the procedure of the published CIFAR-10 experiments (Warnecke et al., NDSS 2023), rows and order included:
    the order is `RandomState(seed).permutation`, the classes are read from the untouched labels.
    """
    true, classes = request.split.labels, request.num_classes
    share = request.budget // classes
    if share < 1:
        raise invalid("budget", f"at least {classes}, one flip a class", request.budget)
    order = np.random.RandomState(request.seed).permutation(len(true))
    given = true.copy()
    for source in range(classes):
        rows = order[true[order] == source]
        if len(rows) < share:
            raise invalid(
                "budget",
                f"at most {classes * min(np.bincount(true, minlength=classes))}: {share} flips a class are needed, "
                f"and class {source} has {len(rows)} rows",
                request.budget,
            )
        given[rows[:share]] = classes - 1 - source
    return Corruption("flip-pairs", request.seed, given, true)


def symmetric(request: Request) -> Corruption:
    """Gives `budget` random rows a random one of the other classes."""
    true, rng = request.split.labels, np.random.default_rng(request.seed)
    rows = rng.choice(len(true), request.budget, replace=False)
    given = true.copy()
    given[rows] = (true[rows] + rng.integers(1, request.num_classes, len(rows))) % request.num_classes
    return Corruption("symmetric", request.seed, given, true)


def symmetric_inclusive(request: Request) -> Corruption:
    """Gives `budget` random rows a random one of all classes: on average `budget (1 - 1/K)` labels become wrong.

    What much work on CIFAR calls symmetric noise, with the generator of published feature-space unlearning: Python's,
    seeded (there with 0 whatever the experiment's seed), shuffles the row numbers; the first `budget` are drawn and get
    their classes in ascending order. Rows with example ids `train_<number>` are taken in the order of these numbers,
    which is the published one.
    """
    given, (rows, generator) = request.split.labels.copy(), _shuffled(request)
    given[rows] = [generator.randint(0, request.num_classes - 1) for _ in rows]
    return Corruption("symmetric-inclusive", request.seed, given, request.split.labels, drawn=request.budget)


def asymmetric_inclusive(request: Request) -> Corruption:
    """Gives `budget` random rows of any class the class each is confused with; rows of other classes keep their label.

    Rows are drawn as for `symmetric_inclusive`, and the map is that of `asymmetric`. On CIFAR-10, where five of ten
    classes are confusable, about half of the budget becomes wrong.
    """
    targets, true = _targets(request), request.split.labels
    given, (rows, _) = true.copy(), _shuffled(request)
    given[rows] = [targets.get(int(label), int(label)) for label in true[rows]]
    return Corruption("asymmetric-inclusive", request.seed, given, true, drawn=request.budget)


def _shuffled(request: Request) -> tuple[np.ndarray, random.Random]:
    """Draws `budget` rows as the published code does; returns them in published order, and the generator after that."""
    generator, rows = random.Random(request.seed), len(request.split)
    positions = list(range(rows))
    generator.shuffle(positions)
    numbers = example_numbers(request.ids)
    order = np.arange(rows) if numbers is None else np.argsort(numbers)
    return order[sorted(positions[: request.budget])], generator


def subclass_dominant(request: Request) -> Corruption:
    """Mistakes one subclass of every class for the next class: `budget` random rows of these subclasses get its label.

    After the subclass-dominant noise of feature-space unlearning on the 20 superclasses of CIFAR-100. There each row is
    drawn with probability `5 r`, and of the drawn rows those of the moved subclass (one in five) get a wrong label;
    given the number of wrong labels, that is the draw made here. So `budget` is there at most a fifth of the rows. The
    moved subclasses are `moved_subclasses` of the rows, or those in `label_map`.
    """
    true, classes = request.split.labels, request.num_classes
    targets = request.label_map
    if targets is None:
        targets = moved_subclasses(true, request.fine_labels, classes)
    fine = check_fine_labels(request.fine_labels, len(true))
    candidates = np.flatnonzero(np.isin(fine, list(targets)))
    for row in candidates:
        target = targets[int(fine[row])]
        if not 0 <= target < classes or target == true[row]:
            raise invalid("label_map", f"fine classes to another class 0..{classes - 1}", f"{fine[row]}: {target}")
    if request.budget > len(candidates):
        raise invalid("budget", f"at most {len(candidates)}, the rows of moved subclasses", request.budget)
    rows = np.random.default_rng(request.seed).choice(candidates, request.budget, replace=False)
    given = true.copy()
    given[rows] = [targets[int(label)] for label in fine[rows]]
    return Corruption("subclass-dominant", request.seed, given, true)


def moved_subclasses(labels: np.ndarray, fine_labels: np.ndarray | None, num_classes: int) -> Mapping[int, int]:
    """Returns the first fine class of every class, in label order, and the next class, for which it is mistaken.

    Args:
        labels: int array `(rows,)` of classes.
        fine_labels: int array `(rows,)` of fine classes, each within one class.
        num_classes: Number of classes.

    Raises:
        InputError: If there are no fine labels, or they do not divide the classes.
    """
    fine = check_fine_labels(fine_labels, len(labels))
    pairs = np.unique(np.stack([fine, labels], axis=1), axis=0)
    if len(pairs) > len(np.unique(fine)):
        raise invalid("fine_labels", "fine classes that each lie within one class", "one that lies in several")
    first: dict[int, int] = {}
    for subclass, label in pairs.tolist():
        first.setdefault(label, subclass)
    return {subclass: (label + 1) % num_classes for label, subclass in first.items()}


def check_fine_labels(fine_labels: np.ndarray | None, rows: int) -> np.ndarray:
    """Returns fine labels, and raises `InputError` if there are none or not one integer a row."""
    if fine_labels is None:
        raise InputError(
            "Subclass-dominant noise needs the fine classes behind the labels, and this data set has none. "
            "cifar100-superclasses has them, and so has a .npz file with the array fine_labels."
        )
    fine = np.asarray(fine_labels)
    if fine.shape != (rows,) or not np.issubdtype(fine.dtype, np.integer):
        raise invalid("fine_labels", f"{rows} integers, one a row", f"{fine.dtype} of shape {fine.shape}")
    return fine


def pair(request: Request) -> Corruption:
    """Gives `budget` random rows the next class."""
    true, rng = request.split.labels, np.random.default_rng(request.seed)
    rows = rng.choice(len(true), request.budget, replace=False)
    given = true.copy()
    given[rows] = (true[rows] + 1) % request.num_classes
    return Corruption("pair", request.seed, given, true)


def asymmetric(request: Request) -> Corruption:
    """Gives `budget` random rows of the confusable classes the class each is confused with."""
    targets = _targets(request)
    true, rng = request.split.labels, np.random.default_rng(request.seed)
    candidates = np.flatnonzero(np.isin(true, list(targets)))
    if request.budget > len(candidates):
        raise invalid("budget", f"at most {len(candidates)}, the rows of confusable classes", request.budget)
    rows = rng.choice(candidates, request.budget, replace=False)
    given = true.copy()
    given[rows] = [targets[int(label)] for label in true[rows]]
    return Corruption("asymmetric", request.seed, given, true)


def _targets(request: Request) -> Mapping[int, int]:
    """Returns the map of confusable classes: the caller's, or that of a known set."""
    targets = request.label_map
    if targets is None:
        if request.data_name not in ("cifar10", "cifar100"):
            raise InputError(
                f"Asymmetric noise needs a map of confusable classes, and there is none for {request.data_name!r}, "
                "only for cifar10 and cifar100. Pass one, or use the noise 'pair'."
            )
        targets = CIFAR10_MAP if request.data_name == "cifar10" else cifar100_map()
    classes = request.num_classes
    for source, target in targets.items():
        if not (0 <= source < classes and 0 <= target < classes) or source == target:
            raise invalid("label_map", f"pairs of different classes 0..{classes - 1}", f"{source}: {target}")
    return targets


def instance_dependent(request: Request) -> Corruption:
    """Lets the image decide: rows near a random boundary flip to the class on its other side.

    After Xia et al., "Part-dependent Label Noise", NeurIPS 2020: a random matrix per true class maps the standardised
    image to scores of the other classes. Their flip probabilities vary by row; here `budget` rows are drawn without
    replacement in proportion to such probabilities, so that the number of flips is exact.
    """
    require_in_memory(request.split, "Instance-dependent noise compares the pixels of all rows that it changes")
    true, classes = request.split.labels, request.num_classes
    rng = np.random.default_rng(request.seed)
    rates = np.clip(rng.normal(request.budget / len(true), 0.1, len(true)), 1e-3, 1)
    rows = np.sort(rng.choice(len(true), request.budget, replace=False, p=rates / rates.sum()))
    flat = np.asarray(request.split.images[rows], dtype=np.float64).reshape(len(rows), -1)
    flat = (flat - flat.mean()) / (flat.std() or 1.0)
    given = true.copy()
    for source in range(classes):
        projection = rng.standard_normal((flat.shape[1], classes)) / np.sqrt(flat.shape[1])
        chosen = true[rows] == source
        members, scores = rows[chosen], flat[chosen] @ projection
        scores[:, source] = -np.inf
        exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
        cumulative = np.cumsum(exponentials / exponentials.sum(axis=1, keepdims=True), axis=1)
        # The bound keeps a sum of 1 - epsilon from choosing past the last class.
        draws = rng.random((len(members), 1)) * cumulative[:, -1:]
        given[members] = (draws >= cumulative).sum(axis=1)
    return Corruption("instance", request.seed, given, true)


def human(request: Request) -> Corruption:
    """Takes labels that people gave, from a CIFAR-10N file (Wei et al., ICLR 2022), matched by example id.

    Row `i` of the file belongs to the example with id `train_<i, five digits>`. Its `clean_label` must equal the
    split's labels row by row, or the file belongs to other data.
    """
    if request.labels_file is None:
        raise InputError("Human noise needs a file of labels: pass labels_file (--labels-file).")
    if request.ids is None:
        raise InputError("Human noise is matched by example id, and this data set has none.")
    path = Path(request.labels_file)
    if not path.is_file():
        raise invalid("labels_file", "an existing .npz file", str(path))
    arrays = read_arrays(path)
    key = request.labels_key
    for name in ("clean_label", key):
        if name not in arrays:
            raise invalid("labels_key", f"an array of {path.name}: {', '.join(sorted(arrays))}", name)
        if arrays[name].ndim != 1 or not np.issubdtype(arrays[name].dtype, np.integer):
            found = f"{name}: {arrays[name].dtype} of shape {arrays[name].shape}"
            raise invalid("labels_file", "one-dimensional arrays of integers", found)
    if len(arrays["clean_label"]) != len(arrays[key]):
        raise invalid("labels_file", "arrays of one length", f"{len(arrays['clean_label'])} and {len(arrays[key])}")
    positions = []
    for identifier in request.ids:
        prefix, _, number = str(identifier).rpartition("_")
        if prefix != "train" or not number.isdigit() or int(number) >= len(arrays[key]):
            raise invalid("ids", f"train_00000..train_{len(arrays[key]) - 1:05d}", str(identifier))
        positions.append(int(number))
    true = request.split.labels
    different = np.flatnonzero(arrays["clean_label"][positions] != true)
    if len(different):
        raise InputError(
            f"The labels in {path.name} belong to other data: clean_label differs from the true label in "
            f"{len(different)} of {len(true)} rows, first in row {different[0]}."
        )
    given = arrays[key][positions].astype(np.int64)
    if given.min() < 0 or given.max() >= request.num_classes:
        raise invalid("labels_file", f"labels 0..{request.num_classes - 1}", f"{given.min()}..{given.max()}")
    return Corruption("human", request.seed, given, true)


def from_transitions(corruption: Corruption, split: Split, num_classes: int, seed: int) -> Corruption:
    """Draws labels for other rows from the class transition matrix of a corruption."""
    counts = np.zeros((num_classes, num_classes))
    np.add.at(counts, (corruption.true_labels, corruption.given_labels), 1)
    counts[counts.sum(axis=1) == 0] = np.eye(num_classes)[counts.sum(axis=1) == 0]
    cumulative = np.cumsum(counts / counts.sum(axis=1, keepdims=True), axis=1)
    draws = np.random.default_rng(seed).random((len(split), 1)) * cumulative[split.labels][:, -1:]
    given = (draws >= cumulative[split.labels]).sum(axis=1)
    return Corruption(corruption.kind, seed, given, split.labels)
