"""What is read of torch models of many makes: heads by value, channels by tensor, wrapped names."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="these are torch models")
pytest.importorskip("PIL", reason="pictures need pillow")

from spider_jax.extract import extract
from spider_jax.extract.models.torch_head import find_reading, run
from spider_jax.extract.models.torch_module import made, picture_encoder
from spider_jax.extract.models.torch_weights import load_weights, weights_hash
from spider_jax.extract.spec import Spec
from support.toy_extract import pictures, seeded, tiny, write_arrays

pytestmark = pytest.mark.usefixtures("one_torch_thread")
Refused = Callable[..., AbstractContextManager[None]]
SIDE, WIDTH, CLASSES = 12, 8, 5
X = torch.randn((4, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(3))


class Net(torch.nn.Module):
    """A stem, two heads, and a function of them that is the output."""

    def __init__(self, output: Callable[["Net", Any], Any], width: int = CLASSES) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(3, WIDTH, 4, 4)
        self.first = torch.nn.Linear(WIDTH, width)
        self.second = torch.nn.Linear(WIDTH, width)
        self.output = output

    def forward(self, x: Any) -> Any:
        return self.output(self, self.stem(x))


def mean(maps: Any) -> Any:
    return maps.mean((2, 3))


def top(maps: Any) -> Any:
    return maps.amax((2, 3))


def net(output: Callable[[Net, Any], Any], width: int = CLASSES) -> Any:
    return seeded(Net(output, width)).eval()


def read(model: Any, **options: Any) -> tuple[Any, Any]:
    """The reading and what it gives."""
    reading = find_reading(model, X[:2], options.get("head"), options.get("layer"))
    with torch.inference_mode():
        return reading, run(model, X, reading)


# ---- heads -----------------------------------------------------------------------------------

HEADS: dict[str, Callable[[Net, Any], Any]] = {
    "one": lambda n, m: n.first(mean(m)),
    "scaled": lambda n, m: 30 * n.first(mean(m)) + 2,
    "softmax": lambda n, m: torch.softmax(n.first(mean(m)), 1),
    "log softmax": lambda n, m: torch.log_softmax(n.first(mean(m)), 1),
    "two averaged": lambda n, m: (n.first(mean(m)) + n.second(top(m))) / 2,
    "two added": lambda n, m: n.first(mean(m)) + n.second(top(m)),
    "tokens, averaged later": lambda n, m: n.first(m.flatten(2).mT).mean(1),
    "logits by name": lambda n, m: {"maps": m, "logits": n.first(mean(m))},
    "a loss first": lambda n, m: {"loss": m.sum(), "logits": n.first(mean(m))},
    "a tuple": lambda n, m: (n.first(mean(m)), m),
    "another head that ran before": lambda n, m: [n.first(mean(m)), n.second(top(m))][0],
}


@pytest.mark.parametrize("kind", HEADS)
def test_the_softmax_is_the_models(kind: str) -> None:
    model = net(HEADS[kind])
    reading, found = read(model)
    with torch.inference_mode():
        maps, output = model.stem(X), model(X)
    output = output["logits"] if isinstance(output, dict) else output
    output = output[0] if isinstance(output, tuple) else output
    two = "two" in kind
    wanted = (mean(maps) + top(maps)) / 2 if two else mean(maps)
    assert reading.heads == (("first", "second") if two else ("first",))
    torch.testing.assert_close(found.features, wanted)
    softmax = output if kind == "softmax" else torch.softmax(output, 1)
    torch.testing.assert_close(torch.softmax(found.logits, 1), softmax)


@pytest.mark.parametrize(
    "output",
    [
        lambda n, m: mean(m) + n.first(mean(m)),  # a residual branch
        lambda n, m: torch.nn.functional.normalize(n.first(mean(m))),
        lambda n, m: n.first(mean(m)) * n.second(top(m)),
    ],
)
def test_a_last_layer_that_is_no_head_is_refused(output: Any, refused: Refused) -> None:
    model = net(output, WIDTH)
    with refused("is not what its last layer", "head=none"):
        read(model)
    reading, found = read(model, head="none")
    assert (str(reading), found.logits) == ("output of the model", None)
    torch.testing.assert_close(found.features, model(X).detach())


def test_a_named_head_that_is_not_the_output_keeps_no_softmax(caplog: Any) -> None:
    _, found = read(net(HEADS["two averaged"]), head="second")
    assert found.logits is None
    assert "no softmax is kept" in caplog.text


def test_a_sigmoid_has_no_softmax() -> None:
    model = net(lambda n, m: torch.sigmoid(n.first(mean(m))))
    reading, found = read(model)
    assert (str(reading), found.logits) == ("input of first", None)
    torch.testing.assert_close(found.features, mean(model.stem(X)).detach())


@pytest.mark.parametrize("option", ["head", "layer"])
def test_a_module_that_does_not_run(option: str, refused: Refused) -> None:
    with refused("'second' does not run"):
        read(net(HEADS["one"]), **{option: "second"})


def test_a_named_head_that_is_a_softmax_is_not_softened_again() -> None:
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, WIDTH, 4, 4),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Sequential(torch.nn.Linear(WIDTH, CLASSES), torch.nn.Softmax(1)),
    )
    reading, found = read(seeded(model).eval(), head="3")
    assert reading.logits == "probabilities"
    torch.testing.assert_close(found.probabilities, model(X).detach())


# ---- channels --------------------------------------------------------------------------------


class Maps(torch.nn.Module):
    """A convolution, a norm over channels that stand last, and a function of both as the output."""

    def __init__(self, output: Callable[[Any, Any], Any], stride: int, width: int) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(3, width, stride, stride)
        self.norm = torch.nn.LayerNorm(width)
        self.output = output

    def forward(self, x: Any) -> Any:
        return self.output(self, self.stem(x))


def norm(n: Any, maps: Any) -> Any:
    return n.norm(maps.permute(0, 2, 3, 1))


# the output, and the axes of its places
CHANNELS: dict[str, tuple[Callable[[Any, Any], Any], tuple[int, ...]]] = {
    "maps": (lambda n, m: m, (2, 3)),
    "maps after ReLU": (lambda n, m: torch.relu(m), (2, 3)),
    "maps moved": (lambda n, m: torch.relu(m).permute(0, 2, 3, 1), (1, 2)),
    "norm over the last axis": (norm, (1, 2)),
    "that norm moved back": (lambda n, m: norm(n, m).permute(0, 3, 1, 2), (2, 3)),
    "that norm after GELU": (lambda n, m: torch.nn.functional.gelu(norm(n, m)), (1, 2)),
    "tokens": (lambda n, m: norm(n, m).flatten(1, 2), (1,)),
    "places behind channels": (lambda n, m: m.flatten(2), (2,)),
}


@pytest.mark.parametrize("kind", CHANNELS)
@pytest.mark.parametrize(("stride", "width"), [(4, 7), (2, 6), (1, 12)])  # 3, 6 and 12 places
def test_channels_are_found(kind: str, stride: int, width: int) -> None:
    output, places = CHANNELS[kind]
    model = seeded(Maps(output, stride, width)).eval()
    _, found = read(model, head="none")
    with torch.inference_mode():
        torch.testing.assert_close(found.features, model(X).mean(places))


def test_channels_that_are_not_found_are_asked_for(refused: Refused) -> None:
    model = seeded(Maps(lambda n, m: torch.cat([m, m], 1), 4, 4)).eval()
    with refused("shape [2, 8, 3, 3]", "channels=first or channels=last"):
        find_reading(model, X[:2], "none", None)
    spec = Spec("torch", "m:f", {"channels": "first", "size": "12", "resize": "12", "head": "none"})
    assert picture_encoder(spec, "m", model, preprocessing(), ()).facts["layer"] == (
        "output of the model"
    )


def preprocessing() -> Any:
    from spider_jax.extract.data.images import Preprocessing

    return Preprocessing(size=SIDE, resize=SIDE)


# ---- checkpoints -----------------------------------------------------------------------------

PREFIXES = ("", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "a.b.")


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("key", [None, "state_dict"])
def test_names_of_a_wrapped_model(tmp_path: Path, prefix: str, key: str | None) -> None:
    source = seeded(tiny(), 4)
    state = {prefix + name: tensor for name, tensor in source.state_dict().items()}
    torch.save(state if key is None else {key: state}, tmp_path / "w.pt")
    model = tiny()
    load_weights(model, tmp_path / "w.pt")
    assert weights_hash(model) == weights_hash(source)


def test_a_part_that_was_compiled(tmp_path: Path) -> None:
    source = seeded(tiny(), 4)
    names = {name: name.replace("head.", "head._orig_mod.") for name in source.state_dict()}
    state = {names[name]: tensor for name, tensor in source.state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    model = tiny()
    load_weights(model, tmp_path / "w.pt")
    assert weights_hash(model) == weights_hash(source)


@pytest.mark.parametrize("change", ["missing", "unexpected", "of two parts"])
def test_weights_that_are_not_whole(tmp_path: Path, change: str, refused: Refused) -> None:
    state = {f"module.{name}": tensor for name, tensor in tiny().state_dict().items()}
    if change == "missing":
        del state["module.head.weight"]
    else:
        state["module.extra" if change == "unexpected" else "ema.extra"] = torch.zeros(1)
    torch.save(state, tmp_path / "w.pt")
    with refused("do not fit", "head.weight" if change == "missing" else "extra"):
        load_weights(tiny(), tmp_path / "w.pt")


class Compiled(torch.nn.Module):
    """The name that torch.compile gives to what it wraps; compiling itself takes seconds."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._orig_mod = model

    def forward(self, x: Any) -> Any:
        return self._orig_mod(x)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda m: m.half(),
        lambda m: m.bfloat16(),
        lambda m: m.double(),
        torch.nn.DataParallel,
        Compiled,
    ],
)
def test_a_model_in_another_precision_or_wrapped(wrap: Any) -> None:
    model = made(lambda: wrap(tiny()), Spec("torch", "m:f"))
    encoder = picture_encoder(Spec("torch", "m:f"), "m", model, preprocessing(), ())
    items = [encoder.prepare(picture) for picture in pictures(3)]
    plain = picture_encoder(Spec("torch", "m:f"), "m", tiny().eval(), preprocessing(), ())
    found, wanted = encoder.encode(items, None), plain.encode(items, None)
    np.testing.assert_allclose(found.features, wanted.features, atol=1e-2)
    assert found.features.dtype == np.float32


# ---- not a function of the row ---------------------------------------------------------------


def dropping() -> Any:
    return net(lambda n, m: n.first(torch.nn.functional.dropout(mean(m), 0.5)))


def of_batch() -> Any:
    bare = torch.nn.functional.batch_norm
    return net(lambda n, m: n.first(mean(bare(m, None, None, training=True))))


def masking() -> Any:
    return net(lambda n, m: n.first(mean(m * (torch.rand(m.shape) < 0.25))))


@pytest.mark.parametrize(
    ("factory", "cause"),
    [("dropping", "dropout"), ("of_batch", "batch statistics"), ("masking", "masking is on")],
)
def test_a_model_that_is_no_function_of_a_row(tmp_path: Path, factory: str, cause: str) -> None:
    data = f"arrays:{write_arrays(tmp_path / 'toys.npz', 20)}"
    spec = f"torch:{__name__}:{factory}?size={SIDE}&resize={SIDE}"
    (problem,) = extract([spec], [data], tmp_path / "zoo").problems
    assert "is no function of a row" in problem.message
    assert cause in problem.message
    assert not (tmp_path / "zoo").exists()
