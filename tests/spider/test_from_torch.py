"""The published torch weights score here as in torch, in a module written from the equations."""

import math

import numpy as np
import pytest

from spider_jax import InputError, Spider
from support.published_torch import MODELS, NAMES, OWN, WIDTH, D, M, published_state, tasks
from support.references import ranking_and_spider as reference


def close(found, expected, tolerance=2e-6):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1, np.ptp(expected)))


def test_scores_are_those_of_full_attention_in_float64():
    state = published_state()
    arrays = {ours: state[name].squeeze() for ours, name in NAMES.items()}
    given = tasks(1, 4, 11)
    found = Spider.from_torch(state, models=MODELS).scores(given)
    for t, tokens in enumerate(given):
        expected = [
            reference.full_attention_score(arrays, theta, tokens)
            for theta in state["model_prompt"][0]
        ]
        close(found[t], expected)


def torch_module(torch, models, D, d):
    """The published form from its equations: all positions attend, the model's row is read."""
    nn = torch.nn

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            for name in ("w_qs", "w_ks", "w_vs"):
                setattr(self, name, nn.Linear(d, d, bias=False))
            self.fc, self.layer_norm = nn.Linear(d, d), nn.LayerNorm(d, eps=1e-5)

        def forward(self, rows):
            logits = self.w_qs(rows) @ self.w_ks(rows).T / math.sqrt(d)
            return self.layer_norm(rows + self.fc(logits.softmax(-1) @ self.w_vs(rows)))

    class Published(nn.Module):
        def __init__(self):
            super().__init__()
            self.model_prompt = nn.Parameter(torch.randn(1, len(models), d))
            self.transformer, self.uni_linear = Attention(), nn.Linear(D, d)
            self.mlp_head = nn.Sequential(nn.LayerNorm(d, eps=1e-5), nn.Linear(d, 1))

        def forward(self, tokens):
            rows = [torch.cat([m[None], self.uni_linear(tokens)]) for m in self.model_prompt[0]]
            return torch.cat([self.mlp_head(self.transformer(r)[0]) for r in rows])

    return Published()


@pytest.mark.parametrize(("D", "d"), [(6, 16), (64, 16), (48, 40)])
def test_a_torch_module_scores_the_same(D, d):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.manual_seed(0)
    models = [f"model {i}" for i in range(300)]
    module = torch_module(torch, models, D, d)
    given = tasks(1, 5, 60, 400, D=D)
    found = Spider.from_torch(module.state_dict(), models=models).scores(given)
    for t, tokens in enumerate(given):
        with torch.no_grad():
            expected = module.double()(torch.from_numpy(tokens).double()).numpy()
        close(found[t], expected)
        module.float()


def test_what_a_checkpoint_says_of_itself():
    spider = Spider.from_torch(published_state(), models=MODELS, extractor="esvit")
    about = spider.description
    assert spider.models == MODELS
    assert about.widths == OWN
    assert about.extractor == {"name": "esvit", "width": D}
    assert math.isnan(about.resolution)


def test_it_is_saved_and_loaded(tmp_path):
    spider = Spider.from_torch(published_state(), models=MODELS)
    spider.save(tmp_path / "spider")
    again = Spider.load(tmp_path / "spider")
    np.testing.assert_array_equal(again.scores(tasks(3, 9)), spider.scores(tasks(3, 9)))


@pytest.mark.parametrize(
    ("change", "mentions"),
    [
        ({"uni_linear.bias": None}, ("lacks", "uni_linear.bias")),
        (
            {"transformer.fc.weight": np.ones((WIDTH, 3))},
            ("transformer.fc.weight", f"({WIDTH}, 3)"),
        ),
        ({"model_prompt": np.ones((1, M + 1, WIDTH))}, ("model_prompt", M + 1)),
        ({"mlp_head.1.bias": np.array([np.nan])}, ("mlp_head.1.bias", "finite")),
        ({"mlp_head.1.bias": "three"}, ("mlp_head.1.bias", "numbers")),
        ({"hete_linears.bert.weight": np.ones((WIDTH, 3))}, ("bert", "models")),
        ({"hete_linears.resnet.weight": np.ones((3, 3))}, ("hete_linears.resnet.weight",)),
    ],
)
def test_a_wrong_state_is_refused(refused, change, mentions):
    state = published_state() | change
    state = {name: array for name, array in state.items() if array is not None}
    with refused(*mentions):
        Spider.from_torch(state, models=MODELS)


def test_models_are_named_once_each():
    with pytest.raises(InputError, match="once each"):
        Spider.from_torch(published_state(), models=["resnet"] * M)


def test_parameters_that_are_not_of_a_spider_are_told(caplog):
    Spider.from_torch(published_state() | {"queue": np.ones(3)}, models=MODELS)
    assert "'queue'" in caplog.text
