"""Where rows come from: read, checked, written, and never parted by a split made here."""

import numpy as np
import pytest

from spider_jax.errors import InputError
from spider_jax.zoo.files import write_domains
from spider_jax.zoo.inspection import inspect_zoo
from spider_jax.zoo.splits import task_split
from spider_jax.zoo.store import FeatureStore
from support.small_zoo import put


def test_domains_are_read_as_written(small_zoo):
    zoo = FeatureStore(small_zoo)
    assert zoo.domains("apples") is None
    given = np.arange(len(zoo.labels("apples"))) // 10 * 5 - 3
    write_domains(small_zoo, "apples", given)
    np.testing.assert_array_equal(zoo.domains("apples"), given)


@pytest.mark.parametrize("array", [np.zeros(3, int), np.zeros(40), np.zeros((40, 1), int)])
def test_bad_domains_take_out_the_task_that_asks(small_zoo, array):
    put(small_zoo, "domains/apples", array)
    zoo = FeatureStore(small_zoo)
    with pytest.raises(InputError, match=r"apples\.npy must be int"):
        zoo.domains("apples")
    assert any("domains" in line for line in inspect_zoo(zoo).skipped)
    with pytest.raises(InputError, match="int"):
        write_domains(small_zoo, "birds", array.astype(float))


@pytest.mark.parametrize("count", [2, 3, 5, 40])
def test_a_split_parts_no_domain(small_zoo, count):
    zoo = FeatureStore(small_zoo)
    domains = np.arange(len(zoo.labels("apples"))) % count
    write_domains(small_zoo, "apples", domains)
    split = task_split(zoo, "apples")
    parts = [set(domains[rows]) for rows in split[:3]]
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert len(parts[0]) >= len(parts[1]) > 0
    assert "no domain parted" in split.note
    assert (len(split.test) == 0) == (count == 2)


def test_one_domain_cannot_be_parted(small_zoo):
    write_domains(small_zoo, "apples", np.zeros(40, int))
    with pytest.raises(InputError, match="one domain only"):
        task_split(FeatureStore(small_zoo), "apples")
