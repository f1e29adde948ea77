"""The published torch weights score here as in torch, in a module written from the equations."""

import math
from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest

from spider_jax import InputError, Spider
from spider_jax.spider.folding import FEW_UP_TO
from support.published_torch import MODELS, NAMES, OWN, WIDTH, D, M, published_state, tasks
from support.references import ranking_and_spider as reference
from support.small_training import with_resolution


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


def prefixed(prefix, state=None):
    return OrderedDict((prefix + name, a) for name, a in (state or published_state()).items())


AS_SAVED = {
    "beside others": lambda s: {"model": s, "epoch": 3, "time_str": "now", "optimizer": {"a": 1}},
    "under another name": lambda s: {"state_dict": s, "args": {"attn_pool": "cls"}},
    "twice inside": lambda s: {"best": {"model": s}, "args": SimpleNamespace(attn_pool="cls")},
    "of DataParallel": lambda s: prefixed("module.", s),
    "of torch.compile": lambda s: {"model": prefixed("_orig_mod.", s)},
    "of both": lambda s: {"model": prefixed("module._orig_mod.", s)},
    "part of a module": lambda s: prefixed("base_model.", s) | {"cluster_layer.x": np.ones(2)},
}


@pytest.mark.parametrize("how", AS_SAVED)
def test_a_checkpoint_is_read_as_it_was_saved(how):
    state, given = published_state(), tasks(4)
    found = Spider.from_torch(AS_SAVED[how](state), models=MODELS)
    expected = Spider.from_torch(state, models=MODELS)
    np.testing.assert_array_equal(found.scores(given), expected.scores(given))
    assert math.isnan(found.description.resolution)  # as of every one of these, and NaN != NaN
    assert with_resolution(found, 0.0).description == with_resolution(expected, 0.0).description


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_tensors_of_every_float_type_are_read(dtype):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    kind = getattr(torch, dtype)
    tensors = {n: torch.from_numpy(a).to(kind) for n, a in published_state().items()}
    tensors["mlp_head.1.bias"] = torch.nn.Parameter(tensors["mlp_head.1.bias"])
    rounded = {n: a.detach().float().numpy() for n, a in tensors.items()}
    found, expected = (Spider.from_torch(s, models=MODELS) for s in (tensors, rounded))
    np.testing.assert_array_equal(found.scores(tasks(4)), expected.scores(tasks(4)))


def test_bfloat16_arrays_are_read():
    import jax.numpy as jnp

    state = {n: np.asarray(jnp.asarray(a, jnp.bfloat16)) for n, a in published_state().items()}
    assert np.isfinite(Spider.from_torch(state, models=MODELS).scores(tasks(4))).all()


@pytest.mark.parametrize(
    ("state", "mentions"),
    [
        ({"epoch": 3, "model": {"weight": np.ones(2)}}, ("model_prompt", "published code")),
        ({"model": published_state(), "ema": published_state()}, ("'model'", "'ema'", "one")),
        (published_state() | prefixed("module."), ("module.model_prompt", "one")),
        (published_state() | {"transformer.w_qs.bias": np.ones(WIDTH)}, ("w_qs.bias",)),
        (published_state() | {"mlp_head.2.weight": np.ones((1, 1))}, ("mlp_head.2.weight",)),
        (published_state() | {"mlp_head.1.bias": np.array([1j])}, ("mlp_head.1.bias", "complex")),
        (published_state() | {"mlp_head.1.bias": np.array([1e300])}, ("mlp_head.1.bias", "finite")),
        ({"model": published_state(), "args": {"attn_pool": "mean"}}, ("attn_pool", "'mean'")),
        (
            {"model": published_state(), "args": SimpleNamespace(pool="mean", seed=0)},
            ("attn_pool", "'mean'"),
        ),
        (
            {"model": published_state(), "args": {"heterogeneous_extra_prompt": True}},
            ("heterogeneous_extra_prompt", "True", "order of the models"),
        ),
    ],
)
def test_what_would_be_scored_wrongly_is_refused(refused, state, mentions):
    with refused(*mentions):
        Spider.from_torch(state, models=MODELS)


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ({"attn_pool": "mean"}, "attn_pool"),
        ({"extra_prompt": True}, "heterogeneous_extra_prompt"),
    ],
)
def test_what_parameters_do_not_tell_can_be_said(refused, option, name):
    with refused(name):
        Spider.from_torch(published_state(), models=MODELS, **option)


@pytest.mark.parametrize("count", [2, FEW_UP_TO, FEW_UP_TO + 1])
def test_a_spider_is_born_in_the_form_that_suits_it_and_keeps_it(count, tmp_path):
    models = [f"model {i}" for i in range(count)]
    state = published_state(models)
    spider = Spider.from_torch(state, models=models)
    assert spider.description.form == ("few" if count <= FEW_UP_TO else "many")
    other = Spider.from_torch(state, models=models, form="many")
    close(spider.scores(tasks(5)), other.scores(tasks(5)))
    other.save(tmp_path / "old")
    assert Spider.load(tmp_path / "old").description.form == "many"
