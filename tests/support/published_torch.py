"""Random weights under the published torch names."""

import numpy as np

M, D, WIDTH = 7, 10, 16


OWN = {"resnet": 5, "vit.b16": 9}


MODELS = ("resnet", "vit.b16", *(f"model {i}" for i in range(M - 2)))


# The reference's names of the published parameters.
NAMES = {
    "U": "uni_linear.weight",
    "b_U": "uni_linear.bias",
    "W_q": "transformer.w_qs.weight",
    "W_k": "transformer.w_ks.weight",
    "W_v": "transformer.w_vs.weight",
    "W_o": "transformer.fc.weight",
    "b_o": "transformer.fc.bias",
    "ln_gain": "transformer.layer_norm.weight",
    "ln_bias": "transformer.layer_norm.bias",
    "head_ln_gain": "mlp_head.0.weight",
    "head_ln_bias": "mlp_head.0.bias",
    "head_w": "mlp_head.1.weight",
    "head_b": "mlp_head.1.bias",
}


def published_state(models=MODELS, D=D, d=WIDTH, seed=0):
    """Random weights under the published names, as float32 arrays."""
    rng = np.random.default_rng(seed)
    state = {"model_prompt": rng.normal(size=(1, len(models), d))}
    for name in ("w_qs.weight", "w_ks.weight", "w_vs.weight", "fc.weight"):
        state[f"transformer.{name}"] = rng.normal(size=(d, d)) / d**0.5
    state["transformer.fc.bias"] = 0.3 * rng.normal(size=d)
    for norm in ("transformer.layer_norm", "mlp_head.0"):
        state[f"{norm}.weight"] = 1 + 0.3 * rng.normal(size=d)
        state[f"{norm}.bias"] = 0.3 * rng.normal(size=d)
    state["mlp_head.1.weight"] = rng.normal(size=(1, d)) / d**0.5
    state["mlp_head.1.bias"] = rng.normal(size=1)
    state["uni_linear.weight"] = rng.normal(size=(d, D)) / D**0.5
    state["uni_linear.bias"] = 0.3 * rng.normal(size=d)
    for model, width in OWN.items():
        if model in models:
            state[f"hete_linears.{model}.weight"] = rng.normal(size=(d, width))
            state[f"hete_linears.{model}.bias"] = rng.normal(size=d)
    state |= {"uni_prompt": rng.normal(size=(1, 1, d)), "hete_prompt": rng.normal(size=(1, 1, d))}
    return {name: array.astype(np.float32) for name, array in state.items()}


def tasks(*classes, D=D):
    return [np.random.default_rng(c).normal(size=(c, D)).astype(np.float32) for c in classes]
