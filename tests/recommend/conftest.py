"""Priors that many tests ask: fitted once."""

import numpy as np
import pytest

from spider_jax.recommend.records_prior import RecordsPrior
from spider_jax.records.table import Records
from support.small_records import learned_records, plain_records


@pytest.fixture(scope="session")
def plain_prior() -> RecordsPrior:
    """Of too few records to learn numbers from."""
    return RecordsPrior.fit(plain_records())


@pytest.fixture(scope="session")
def records() -> Records:
    """14 models on 12 tasks with facts, a fourth of the results unknown."""
    return learned_records()


@pytest.fixture(scope="session")
def prior(records: Records) -> RecordsPrior:
    """With every number learned; the results of one task are held out."""
    return RecordsPrior.fit(records, hold_out=["bird legal"])


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same always."""
    return np.random.default_rng(0)
