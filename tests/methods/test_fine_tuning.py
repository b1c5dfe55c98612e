"""Fine-tuning for equal time."""

from __future__ import annotations

import numpy as np
import pytest

from support.small import fitted, poisoned_task, small_model
from unlearning import methods
from unlearning.errors import InputError


class TestEqualTime:
    @pytest.mark.parametrize(
        ("text", "value"), [("71", 71.0), ("null", None), ("0.5", 0.5), ("like:second-order", "like:second-order")]
    )
    def test_values(self, text: str, value) -> None:
        assert methods.get("fine-tuning", {"seconds": text}).config()["seconds"] == value

    @pytest.mark.parametrize("text", ["0", "-1", "soon", "like:", "unlike:sap"])
    def test_bad_values(self, text: str) -> None:
        with pytest.raises(InputError, match="seconds"):
            methods.get("fine-tuning", {"seconds": text})

    def test_resolved_by_name_alone_and_in_a_chain(self) -> None:
        method = methods.get("fine-tuning", {"seconds": "like:sap"})
        assert method.waits_for() == ("sap",) and method.resolve({"sap": 2.5}).config()["seconds"] == 2.5
        chain = methods.get("sap+fine-tuning", {"fine-tuning.seconds": "like:second-order"})
        assert chain.waits_for() == ("second-order",)
        assert chain.resolve({"second-order": 3.0}).config()["fine-tuning"]["seconds"] == 3.0
        assert methods.get("sap").waits_for() == () and methods.get("fine-tuning").waits_for() == ()

    def test_a_name_alone_is_no_time(self) -> None:
        task, _ = poisoned_task(rows=30, flips=3)
        with pytest.raises(InputError, match="seconds"):
            methods.get("fine-tuning", {"seconds": "like:sap"}).unlearn(small_model(), task)

    def test_every_learning_rate_starts_anew(self) -> None:
        """As if it were the only one: the same weights, a fresh optimizer, the same order of rows."""
        task, _ = poisoned_task(rows=120, flips=30)
        model = fitted(small_model(), task.train, epochs=3)
        repaired = [
            methods.get("fine-tuning", {"learning_rates": rates, "epochs": 3, "batch_size": 16})
            .unlearn(model, task)
            .model.get_weights()
            for rates in ([1e-9, 0.01], [0.01])
        ]
        for one, other in zip(*repaired, strict=True):
            np.testing.assert_array_equal(one, other)
        assert any(np.any(new != old) for new, old in zip(repaired[0], model.get_weights(), strict=True))

    def test_stops_in_time_and_says_so(self) -> None:
        task, _ = poisoned_task(rows=120, flips=30)
        method = methods.get("fine-tuning", {"seconds": 1.0, "epochs": 10_000, "learning_rates": [0.001]})
        outcome = method.unlearn(small_model(), task)
        assert outcome.details == {"seconds": 1.0}
        assert 0 < outcome.work.gradient_rows < 10_000 * 120

    def test_tries_no_further_rate_when_time_is_up(self) -> None:
        task, _ = poisoned_task(rows=120, flips=30)
        outcome = methods.get("fine-tuning", {"seconds": 1e-3, "batch_size": 16}).unlearn(small_model(), task)
        assert outcome.work.gradient_rows == 16 and len(outcome.history) == 2
