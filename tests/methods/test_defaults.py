"""Defaults are values that a user could have given; nothing else checks them."""

from __future__ import annotations

import json

import pytest

from unlearning import methods


@pytest.mark.parametrize("name", methods.METHODS.names())
def test_a_method_comes_back_from_its_configuration(name: str) -> None:
    method = methods.get(name)
    given = {field: getattr(method, field) for field in type(method).model_fields}
    assert type(method)(**given) == method
    assert methods.get(name, json.loads(json.dumps(method.config()))) == method
