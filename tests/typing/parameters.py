"""Types of Parameters, as an editor shows them."""

from typing import Any, assert_type

import numpy as np

from dlskills import Backend, Parameters, get_backend, to_host

params = Parameters({"W1": np.ones((3, 2)), "b1": np.zeros(2)})

assert_type(list(params), list[str])
assert_type(params.shapes, dict[str, tuple[int, ...]])
assert_type(params.size, int)
assert_type(params.copy(), Parameters)
assert_type(params.zeros_like(), Parameters)
assert_type(params + params, Parameters)
assert_type(0.5 * params, Parameters)
assert_type(params["W1"], Any)  # the Array API standard defines no array type
for item in params.items():
    assert_type(item, tuple[str, Any])

assert_type(get_backend("cpu"), Backend)
assert_type(get_backend("cpu").asarray([1.0, 2.0]), Any)
to_host(params["W1"]).reshape(6).nosuch  # type: ignore[attr-defined]  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]
