#!/usr/bin/env python3
"""Makes the goldens of models with recurrent layers.

    make_recurrent_goldens.py FOLDER [NAME ...]

needs torch and transformers, and mlx-lm for those in MLX's layout; what a
golden is stands in make_goldens.py.
"""

import pathlib
import shutil
import sys
import zlib

import torch
from make_goldens import edit_config, reference
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

TINY = dict(
    vocab_size=96,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)
MAMBA2 = dict(
    num_heads=4,
    head_dim=16,
    state_size=12,
    n_groups=1,
    chunk_size=16,
    intermediate_size=...,
    num_attention_heads=...,
    num_key_value_heads=...,
    max_position_embeddings=...,
)
FALCON = dict(
    head_dim=8,
    mamba_d_ssm=32,
    mamba_n_heads=4,
    mamba_d_head=8,
    mamba_d_state=12,
    mamba_n_groups=1,
    mamba_chunk_size=16,
)
# Powers of two: folding them into bf16 weights loses nothing.
FACTORS = dict(
    lm_head_multiplier=0.5,
    embedding_multiplier=4.0,
    mlp_multipliers=[0.5, 2.0],
    key_multiplier=0.25,
    attention_out_multiplier=2.0,
    attention_in_multiplier=0.5,
    ssm_multipliers=[0.5, 2.0, 4.0, 0.25, 2.0],
    ssm_in_multiplier=2.0,
    ssm_out_multiplier=0.5,
)
GRANITE = dict(
    shared_intermediate_size=40,
    embedding_multiplier=12.0,
    attention_multiplier=0.0625,
    residual_multiplier=0.22,
    logits_scaling=8.0,
    layer_types=["mamba", "attention", "mamba"],
    num_hidden_layers=3,
    mamba_n_heads=8,
    mamba_d_head=8,
    mamba_d_state=12,
    mamba_n_groups=2,
    mamba_expand=2,
    mamba_chunk_size=16,
)
NEMOTRON = dict(
    head_dim=12,
    layers_block_type=["linear_attention", "full_attention", "mlp", "linear_attention"],
    mamba_num_heads=4,
    mamba_head_dim=8,
    ssm_state_size=12,
    n_groups=2,
    chunk_size=16,
    num_hidden_layers=...,
    moe_intermediate_size=24,
    moe_shared_expert_intermediate_size=40,
)
DELTA = dict(
    head_dim=16,
    num_hidden_layers=3,
    linear_num_key_heads=2,
    linear_num_value_heads=4,
    linear_key_head_dim=12,
    linear_value_head_dim=8,
    full_attention_interval=3,
)
EXPERTS = dict(
    num_experts=4,
    num_experts_per_tok=2,
    moe_intermediate_size=24,
    shared_expert_intermediate_size=20,
)


def edited(change):
    """A rewrite of config.json alone."""
    return lambda folder: edit_config(folder, change)


def to_old_lfm2(config):
    """As the first files of the family were written."""
    types = config.pop("layer_types")
    config["full_attn_idxs"] = [i for i, kind in enumerate(types) if kind == "full_attention"]
    config["block_ff_dim"] = config.pop("intermediate_size")
    config["tie_embedding"] = config.pop("tie_word_embeddings")
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    config.update(block_use_swiglu=True, conv_dim=32, num_heads=4, use_pos_enc=True, theta=1000000.0)
    config["torch_dtype"] = config.pop("dtype")


def to_old_nemotron(config):
    """As the first files of the family were written: a letter a layer."""
    letters = {"linear_attention": "M", "full_attention": "*", "mlp": "-", "moe": "E"}
    kinds = config.pop("layers_block_type")
    config["hybrid_override_pattern"] = "".join(letters[kind] for kind in kinds)
    config["num_hidden_layers"] = len(kinds)
    config["mamba_n_groups"] = config.pop("n_groups")
    config["mamba_d_conv"] = config.pop("conv_kernel")
    config["mamba_conv_bias"] = config.pop("use_conv_bias")
    config["torch_dtype"] = config.pop("dtype")


def to_qwen_multimodal(folder):
    """A checkpoint whose language model is one part of it, after its oracle."""

    def edit(config):
        text = {k: v for k, v in config.items() if k not in ("architectures", "dtype")}
        text["rope_parameters"].update(mrope_interleaved=True, mrope_section=[1, 1, 0])
        text.update(attn_output_gate=True, full_attention_interval=3, mtp_num_hidden_layers=1)
        return {
            "architectures": ["Qwen3_5ForConditionalGeneration"],
            "model_type": "qwen3_5",
            "image_token_id": 90,
            "video_token_id": 91,
            "vision_start_token_id": 92,
            "vision_end_token_id": 93,
            "tie_word_embeddings": False,
            "text_config": text,
            "vision_config": {"depth": 1, "model_type": "qwen3_5_vision"},
        }

    edit_config(folder, edit)
    path = folder / "model.safetensors"
    tensors = {name.replace("model.", "model.language_model.", 1): value for name, value in load_file(path).items()}
    tensors["model.visual.merger.norm.weight"] = torch.ones(8, dtype=torch.bfloat16)
    tensors["mtp.norm.weight"] = torch.ones(32, dtype=torch.bfloat16)
    save_file(tensors, path, metadata={"format": "pt"})


def round_norms(folder):
    """Weights of norms that bf16 holds after one was added, too."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    for name, value in tensors.items():
        if "norm" in name:
            tensors[name] = (value.float() * 128).round().div(128).to(torch.bfloat16)
    save_file(tensors, path, metadata={"format": "pt"})


def to_flat_rope(config):
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope["rope_theta"]
    config["partial_rotary_factor"] = rope["partial_rotary_factor"]
    config["full_attention_interval"] = 3


def to_old_types(config):
    names = {"linear_attention": "mamba", "full_attention": "attention"}
    config["layer_types"] = [names[kind] for kind in config["layer_types"]]


def in_turn(*rewrites):
    def run(folder):
        for rewrite in rewrites:
            rewrite(folder)

    return run


def to_mlx(folder):
    """As mlx_lm.convert writes it, after its oracle."""
    from mlx_lm.utils import load_model, save_config, save_model

    model, config = load_model(folder, lazy=False)
    (folder / "model.safetensors").unlink()
    save_model(folder, model, donate_model=False)
    save_config(config, config_path=folder / "config.json")
    (folder / "model.safetensors.index.json").unlink(missing_ok=True)


# name: (model_type, changes to TINY, rewrite before the oracle, and after it)
VARIANTS = {
    "mamba2": ("mamba2", {**MAMBA2, "n_groups": 2}),
    "mamba2_options": (
        "mamba2",
        {**MAMBA2, "conv_kernel": 3, "use_bias": True, "use_conv_bias": False,
         "time_step_limit": (0.05, 0.6), "tie_word_embeddings": True},
    ),
    "mamba2_mlx": ("mamba2", MAMBA2, edited(lambda c: c.update(intermediate_size=64)), to_mlx),
    "lfm2": (
        "lfm2",
        dict(num_hidden_layers=3, layer_types=["conv", "full_attention", "conv"], block_multiple_of=8),
    ),
    "lfm2_old_style": (
        "lfm2",
        dict(num_hidden_layers=3, layer_types=["full_attention", "conv", "conv"], block_multiple_of=8,
             conv_bias=True, conv_L_cache=4, block_ffn_dim_multiplier=1.3),
        edited(to_old_lfm2),
    ),
    "lfm2_mlx": (
        "lfm2",
        dict(layer_types=["conv", "full_attention"], block_multiple_of=8),
        edited(lambda c: c.update(block_dim=32)),
        to_mlx,
    ),
    "lfm2_moe": (
        "lfm2_moe",
        dict(
            num_hidden_layers=4,
            layer_types=["conv", "full_attention", "conv", "full_attention"],
            num_dense_layers=1,
            num_experts=6,
            num_experts_per_tok=3,
            moe_intermediate_size=24,
            routed_scaling_factor=1.5,
            conv_bias=True,
        ),
    ),
    "falcon_h1": ("falcon_h1", {**FALCON, "time_step_limit": (0.05, 0.6)}),
    "falcon_h1_factors": (
        "falcon_h1",
        {**FALCON, **FACTORS, "mamba_n_groups": 2, "mamba_rms_norm": True, "mamba_norm_before_gate": True,
         "projectors_bias": True, "mamba_proj_bias": True, "mlp_bias": True, "attention_bias": True},
    ),
    "falcon_h1_gate_first": (
        "falcon_h1",
        {**FALCON, "mamba_rms_norm": True, "mamba_norm_before_gate": False, "mamba_conv_bias": False,
         "mamba_d_head": "auto"},
    ),
    "falcon_h1_mlx": ("falcon_h1", {**FALCON, **FACTORS}, None, to_mlx),
    "granitemoehybrid": (
        "granitemoehybrid",
        {**GRANITE, "num_local_experts": 4, "num_experts_per_tok": 2, "position_embedding_type": "rope"},
    ),
    "granitemoehybrid_dense": (
        "granitemoehybrid",
        {**GRANITE, "num_local_experts": 0, "num_experts_per_tok": 0, "mamba_proj_bias": True,
         "attention_bias": True, "tie_word_embeddings": True},
    ),
    "granitemoehybrid_attention": (
        "granitemoehybrid",
        {**GRANITE, "num_hidden_layers": 2, "layer_types": ["attention"] * 2, "num_local_experts": 0,
         "num_experts_per_tok": 0, "position_embedding_type": "rope", "tie_word_embeddings": True},
    ),
    "granitemoehybrid_mlx": (
        "granitemoehybrid",
        {**GRANITE, "num_local_experts": 4, "num_experts_per_tok": 2, "time_step_limit": (0.001, 100.0)},
        edited(to_old_types),
        to_mlx,
    ),
    "nemotron_h": ("nemotron_h", NEMOTRON),
    "nemotron_h_experts": (
        "nemotron_h",
        {**NEMOTRON, "layers_block_type": ["linear_attention", "moe", "full_attention", "moe"],
         "n_routed_experts": 8, "num_experts_per_tok": 3, "n_group": 2, "topk_group": 1,
         "routed_scaling_factor": 2.5, "moe_latent_size": 20, "mlp_bias": True, "use_bias": True},
        edited(to_old_nemotron),
    ),
    "nemotron_h_mlx": (
        "nemotron_h",
        {**NEMOTRON, "layers_block_type": ["linear_attention", "moe", "mlp", "full_attention"],
         "n_routed_experts": 4, "num_experts_per_tok": 2, "time_step_min": 0.05},
        None,
        to_mlx,
    ),
    "qwen3_next": ("qwen3_next", {**DELTA, **EXPERTS}),
    # What llama.cpp's files can say: keys as wide as values.
    "qwen3_next_equal_dims": (
        "qwen3_next",
        {**DELTA, **EXPERTS, "num_hidden_layers": 2, "full_attention_interval": 2, "linear_key_head_dim": 8},
    ),
    "qwen3_next_dense": (
        "qwen3_next",
        {**DELTA, **EXPERTS, "num_experts": 4, "mlp_only_layers": [0, 1], "linear_conv_kernel_dim": 2,
         "linear_num_value_heads": 6, "attention_bias": True, "norm_topk_prob": False,
         "rope_parameters": dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5)},
    ),
    "qwen3_next_mlx": (
        "qwen3_next",
        {**DELTA, **EXPERTS},
        in_turn(edited(to_flat_rope), round_norms),
        to_mlx,
    ),
    "qwen3_5_text": ("qwen3_5_text", DELTA),
    "qwen3_5_equal_dims": (
        "qwen3_5_text",
        {**DELTA, "num_hidden_layers": 3, "layer_types": ["linear_attention", "full_attention", "full_attention"],
         "linear_key_head_dim": 8, "tie_word_embeddings": True},
    ),
    "qwen3_5_multimodal": ("qwen3_5_text", DELTA, None, to_qwen_multimodal),
    "qwen3_5_mlx": ("qwen3_5_text", DELTA, round_norms, in_turn(to_qwen_multimodal, to_mlx)),
    "qwen3_5_moe_text": ("qwen3_5_moe_text", {**DELTA, **EXPERTS, "intermediate_size": ...}),
}


def random_model(kind, fields, seed):
    torch.manual_seed(seed)
    config = AutoConfig.for_model(kind, **fields)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for name, weight in model.float().named_parameters():
            if "conv" in name and weight.dim() == 3:
                weight.normal_(0, 0.4)
            elif weight.dim() >= 2:
                weight.normal_(0, 0.12)
            elif name.endswith("A_log"):
                weight.uniform_(-1, 1)
            elif name.endswith("dt_bias"):
                weight.normal_(-2, 1)
            else:
                weight.add_(torch.randn_like(weight) * 0.1)
        for name, buffer in model.named_buffers():
            if "correction" in name or "expert_bias" in name:
                buffer.add_(torch.randn_like(buffer) * 0.1)
    return model


def make(root, name, kind, changes, before=None, after=None):
    fields = {key: value for key, value in {**TINY, **changes}.items() if value is not ...}
    seed = zlib.crc32(name.encode()) % 100000
    folder = root / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    random_model(kind, fields, seed).to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if before:
        before(folder)
    save_file(reference(folder, fields["vocab_size"], seed), folder / "golden.safetensors")
    if after:
        after(folder)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    torch.set_num_threads(1)
    root, wanted = pathlib.Path(sys.argv[1]), sys.argv[2:]
    unknown = set(wanted) - set(VARIANTS)
    if unknown:
        sys.exit(f"no such golden: {', '.join(sorted(unknown))}. There are {', '.join(VARIANTS)}.")
    for name in wanted or VARIANTS:
        make(root, name, *VARIANTS[name])
        print("made", name)


if __name__ == "__main__":
    main()
