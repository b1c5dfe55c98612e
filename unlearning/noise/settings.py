"""Which noise, and the inputs of its kind. The fields are options of `run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from unlearning.settings import Option, Settings

if TYPE_CHECKING:
    from unlearning.noise.base import Noise


class NoiseSettings(Settings):
    """How labels (or images) go wrong."""

    noise: Annotated[str, Option(one_of="unlearning.noise:NOISES")] = "flip-pairs"
    """Kind of corruption."""
    noise_options: Annotated[dict[str, Any], Option(flag="--noise-option", metavar="NAME=VALUE")] = {}
    """Change an input of the kind, such as target=3 of backdoor; repeatable."""
    labels_file: Annotated[str | None, Option(metavar="FILE")] = None
    """The labels of human noise (a CIFAR-10N .npz file) or recorded noise (a JSON list of integers)."""
    labels_key: str = "worse_label"
    """Which labels of a CIFAR-10N file."""
    labels_sha256: Annotated[str | None, Option(hidden=True)] = None
    """For recorded noise without its file: the hash of the labels of a finished cell."""

    @property
    def takes_budget(self) -> bool:
        """Whether somebody must say how many rows go wrong; a file of labels says so itself."""
        from unlearning.noise import NOISES

        return NOISES.load(self.noise).needs_budget

    @property
    def recorded_noise(self) -> dict[str, Any]:
        """What `poison_config.json` holds besides kind, budget and seed."""
        if self.labels_file is None and self.labels_sha256 is not None:
            return {"labels_sha256": self.labels_sha256}
        return self.build_noise().recorded()

    def build_noise(self) -> Noise:
        """Returns the kind with its inputs.

        Passes on an `InputError` if there is no such kind, or it has no such input.
        """
        from unlearning import noise

        kind = noise.NOISES.load(self.noise)
        files = {name: getattr(self, name) for name in ("labels_file", "labels_key") if name in kind.model_fields}
        return noise.get(self.noise, {**files, **self.noise_options})
