"""What mlx-lm writes for some goldens, as digests: the tests compare Roofline's
conversion with them. Needs mlx-lm 0.32.2 with mlx 0.32.4 (CPU).

usage: python3 make_mlx.py      (writes expected.json beside this file)
"""

import hashlib
import json
import tempfile
from pathlib import Path

import mlx.core as mx
from mlx_lm import utils
from mlx_lm.convert import mixed_quant_predicate_builder

HERE = Path(__file__).parent
GOLDENS = HERE.parents[1] / "goldens"

LLAMA_FORMS = [
    None,
    *[("affine", bits, 32) for bits in (2, 3, 4, 5, 6, 8)],
    ("affine", 4, 64),
    ("mxfp4", 4, 32),
    ("nvfp4", 4, 16),
    ("mxfp8", 8, 32),
    "mixed_3_6",
]
CASES = {
    "llama": LLAMA_FORMS,
    "llama_bias_tied": [("affine", 4, 32)],
    "gemma": [("affine", 4, 64)],
    "gemma3_text": [("affine", 4, 64), ("mxfp8", 8, 32)],
    "granite": [("affine", 4, 64), ("nvfp4", 4, 16)],
    "olmo2": [("affine", 4, 64)],
    "phi3": [("affine", 4, 64)],
    "qwen2": [("affine", 4, 64), ("mxfp4", 4, 32)],
    "qwen3": [("affine", 6, 32)],
    "smollm3": [("affine", 4, 64)],
    # Of 32 dims: groups of 32. Those whose router gets groups of 64 stay floats.
    "deepseek_v3": [None, ("affine", 8, 32)],
    "falcon_h1": [None, ("affine", 4, 32)],
    "gemma3n_multimodal": [None, ("affine", 4, 32)],
    "gemma4_experts": [None],
    "gemma4_text": [None],
    "gpt_neox_wide": [None],
    "granitemoehybrid": [None],
    "granitemoehybrid_dense": [None],
    "lfm2_moe": [None],
    "nemotron_h": [None],
    "nemotron_h_experts": [None, ("affine", 4, 32)],
    "qwen3_5_moe_text": [None],
    "qwen3_5_text": [None, ("mxfp4", 4, 32)],
}
# What mlx-lm asks for, where it doesn't know a model of its own.
WHOLE = {
    "qwen3_5_text": "qwen3_5",
    "qwen3_5_moe_text": "qwen3_5_moe",
}
OLD_LAYERS = {"linear_attention": "mamba", "full_attention": "attention"}


def digests(folder):
    out = {}
    for file in sorted(folder.glob("model*.safetensors")):
        raw = file.read_bytes()
        size = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + size])
        header.pop("__metadata__", None)
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            body = raw[8 + size + begin : 8 + size + end]
            shape = "x".join(map(str, entry["shape"]))
            digest = hashlib.sha256(body).hexdigest()[:16]
            out[name] = f"{entry['dtype']} {shape} {digest}"
    lines = [f"{name} {text}" for name, text in sorted(out.items())]
    return {
        "count": len(lines),
        "digest": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
    }


def understood(config):
    """The config with the fields that mlx-lm asks for."""
    kind = config["model_type"]
    rope = config.get("rope_parameters") or {}
    rope = rope.get("full_attention", rope)
    if "rope_theta" in rope:
        config["rotary_emb_base" if kind == "gpt_neox" else "rope_theta"] = rope["rope_theta"]
    if kind == "gpt_neox":
        config["rotary_pct"] = rope.get("partial_rotary_factor", 0.25)
    if kind == "gemma3n":  # this golden leaves out what the reference fills in
        text, layers = config["text_config"], config["text_config"]["num_hidden_layers"]
        text["layer_types"] = ["full_attention" if i % 5 == 4 else "sliding_attention" for i in range(layers)]
        text["activation_sparsity_pattern"] = [0.0] * layers
    if kind == "gemma4_text":
        heads = list(config["per_layer_config"].values())
        config["global_head_dim"] = heads[0]["head_dim"]
    if kind == "granitemoehybrid":
        config["layer_types"] = [OLD_LAYERS.get(t, t) for t in config["layer_types"]]
        if not config["num_local_experts"]:
            config["intermediate_size"] = config["shared_intermediate_size"]
    if kind == "nemotron_h":
        for new, old in [("n_groups", "mamba_n_groups"), ("conv_kernel", "mamba_d_conv"), ("use_conv_bias", "mamba_conv_bias")]:
            config.setdefault(new, config.get(old))
        config["mamba_proj_bias"] = config["use_bias"]
    if kind.startswith("qwen3_5"):
        config["full_attention_interval"] = 1 + config["layer_types"].index("full_attention")
    if kind in WHOLE:
        config = {"model_type": WHOLE[kind], "text_config": config}
    return config


def pack_experts(weights, experts):
    end = ".experts.0.gate_proj.weight"
    for base in [k.removesuffix(end) for k in weights if k.endswith(end)]:
        def take(part):
            return mx.stack([weights.pop(f"{base}.experts.{i}.{part}.weight") for i in range(experts)])

        weights[f"{base}.experts.gate_up_proj"] = mx.concatenate([take("gate_proj"), take("up_proj")], 1)
        weights[f"{base}.experts.down_proj"] = take("down_proj")


def prepared(name, folder):
    """A golden as mlx-lm can load it: text models as a part of what they are
    part of, layers that guess further tokens left out."""
    config = understood(json.loads((GOLDENS / name / "config.json").read_text()))
    (folder / "config.json").write_text(json.dumps(config))
    weights = mx.load(str(GOLDENS / name / "model.safetensors"))
    layers = config.get("num_hidden_layers", 10**6)
    weights = {k: v for k, v in weights.items() if f"layers.{layers}." not in k}
    if config["model_type"] == "gemma3n":  # what shared layers have and nobody uses
        text = config["text_config"]
        own = text["num_hidden_layers"] - text["num_kv_shared_layers"]
        for layer in range(own, text["num_hidden_layers"]):
            for part in ("k_proj", "v_proj", "k_norm"):
                at = "model.language_model.layers.{}.self_attn." + part + ".weight"
                weights.setdefault(at.format(layer), weights[at.format(own - 1)])
    if config["model_type"] == "qwen3_5_moe":  # it knows them stacked only
        pack_experts(weights, config["text_config"]["num_experts"])
    if config["model_type"] == "gpt_neox":  # it has no tied embeddings
        weights.setdefault("embed_out.weight", weights["gpt_neox.embed_in.weight"])
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "pt"})
    return folder


def convert(name, form):
    with tempfile.TemporaryDirectory() as folder:
        folder = prepared(name, Path(folder))
        model, config = utils.load_model(folder, lazy=False)
    config.pop("text_config", None)
    if isinstance(form, str):
        predicate = mixed_quant_predicate_builder(form, model, 64)
        model, config = utils.quantize_model(
            model, config, 64, 4, quant_predicate=predicate
        )
    elif form:
        mode, bits, group = form
        model, config = utils.quantize_model(model, config, group, bits, mode=mode)
    with tempfile.TemporaryDirectory() as folder:
        utils.save_model(folder, model)
        return {
            "golden": name,
            "form": form,
            "quantization": config.get("quantization"),
            "tensors": digests(Path(folder)),
        }


def main():
    mx.set_default_device(mx.cpu)
    cases = [convert(name, form) for name, forms in CASES.items() for form in forms]
    (HERE / "expected.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
