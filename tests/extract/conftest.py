"""What tests of models in torch share."""

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """Tiny products cost more in handing them to threads than in computing them."""
    torch: Any = pytest.importorskip("torch", reason="it sets torch's threads")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
