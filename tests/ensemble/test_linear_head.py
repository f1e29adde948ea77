"""Heads against scikit-learn's ridge, refitted without each fold."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from spider_jax.ensemble.calibration import columns_of, predictions_of, row_losses
from spider_jax.ensemble.linear_head import _left_out, _thin_svd, fit_head, folds_of
from support.toy_tasks import blobs, with_columns

CASES = {
    "tall": blobs(60, 4),
    "wide": blobs(30, 50),
    "constant columns": with_columns(3, 0),
    "a class of one": (blobs(40)[0], np.repeat([0, 1, 2], [20, 19, 1])),
}


@pytest.mark.parametrize("name", CASES)
def test_left_out_scores_are_those_of_a_refit(name):
    F, labels = CASES[name]
    Y, fold = columns_of("classification", labels, 3), folds_of("classification", labels, None, 0)
    Z = F - F.mean(0)
    s, U, _ = _thin_svd(Z)
    found = _left_out(U, s / (s + 2.5), Y, fold)
    for one in np.unique(fold):
        out = fold == one
        refit = Ridge(alpha=2.5).fit(Z[~out], Y[~out])
        np.testing.assert_allclose(found[out], refit.predict(Z[out]), atol=1e-8)


@pytest.mark.parametrize("kind", ["classification", "multi-label", "regression"])
def test_a_head_is_calibrated_and_predicts_from_raw_features(kind):
    F, labels = blobs(90, 5)
    given = {"multi-label": np.eye(3)[labels] > 0, "regression": F[:, 0] + labels}
    labels = given.get(kind, labels)
    Y, fold = columns_of(kind, labels, 3), folds_of(kind, labels, None, 0)
    found = fit_head(F.astype(np.float32), Y, fold, kind)
    said = predictions_of(kind, F @ found.head.weights + found.head.bias, found.head.temperature)
    seen, unseen = (row_losses(kind, p, Y).mean() for p in (said, found.left_out))
    constant = predictions_of(kind, np.broadcast_to(Y.mean(0), Y.shape), found.head.temperature)
    assert seen < unseen < row_losses(kind, constant, Y).mean()


def test_no_group_is_in_two_folds():
    groups = np.arange(40) // 3
    fold = folds_of("classification", blobs(40)[1], groups, 0)
    assert all(len(set(fold[groups == g])) == 1 for g in groups)
    assert len(set(fold)) == 10


def test_features_that_say_nothing_give_the_shares_of_the_classes():
    labels = np.arange(40) % 2
    fold = folds_of("classification", labels, None, 0)
    found = fit_head(
        np.ones((40, 3)), columns_of("classification", labels, 2), fold, "classification"
    )
    np.testing.assert_allclose(found.left_out, 0.5, atol=0.05)
