#!/usr/bin/env python3
"""Makes the goldens of models with mixtures of experts and latent attention.

    make_mixture_goldens.py FOLDER [NAME ...]

needs torch and transformers; what a golden is stands in make_goldens.py.
"""

import json
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
LATENT = dict(
    num_key_value_heads=4,
    kv_lora_rank=16,
    qk_rope_head_dim=8,
    qk_nope_head_dim=12,
    v_head_dim=10,
    moe_intermediate_size=24,
    first_k_dense_replace=1,
)
YARN = dict(
    rope_type="yarn",
    rope_theta=10000.0,
    factor=40.0,
    beta_fast=32,
    beta_slow=1,
    mscale=1.0,
    mscale_all_dim=1.0,
    original_max_position_embeddings=16,
)


def to_old_rope(config):
    """As configs were written before rope_parameters."""
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    config["rope_scaling"] = None if kind == "default" else {**rope, "type": kind}
    config["torch_dtype"] = config.pop("dtype")


def to_old_deepseek_v3(folder):
    """As DeepSeek-V3's own files: a further layer guesses the token after next."""

    def edit(config):
        to_old_rope(config)
        for name in ("head_dim", "qk_head_dim", "rope_interleave", "num_mtp_layers", "output_router_logits"):
            config.pop(name, None)
        config.update(
            aux_loss_alpha=0.001,
            ep_size=1,
            moe_layer_freq=1,
            num_nextn_predict_layers=1,
            scoring_func="sigmoid",
            seq_aux=True,
            topk_method="noaux_tc",
        )

    edit_config(folder, edit)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["model.layers.2.eh_proj.weight"] = torch.zeros(4, 4, dtype=torch.bfloat16)
    tensors["model.layers.2.mlp.experts.0.up_proj.weight"] = torch.zeros(4, 4, dtype=torch.bfloat16)
    save_file(tensors, path, metadata={"format": "pt"})


def to_kimi(folder):
    def edit(config):
        to_old_rope(config)
        config["model_type"] = "kimi_k2"
        config["architectures"] = ["DeepseekV3ForCausalLM"]
        config["num_nextn_predict_layers"] = 0
        config.update(scoring_func="sigmoid", topk_method="noaux_tc", moe_layer_freq=1)

    edit_config(folder, edit)


FP4 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
FP4 = torch.cat([FP4, -FP4])


def draw_mxfp4(folder):
    """Experts that four bits hold: [expert, in, out] of codes times powers of two."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    draw = torch.Generator().manual_seed(7)
    for name in [n for n in tensors if n.endswith(("gate_up_proj", "down_proj"))]:
        experts, columns, rows = tensors[name].shape
        codes = torch.randint(0, 16, (experts, rows, columns // 32, 32), generator=draw)
        scales = torch.randint(121, 124, (experts, rows, columns // 32), generator=draw)
        values = FP4[codes] * torch.exp2(scales[..., None] - 127.0)
        tensors[name] = values.reshape(experts, rows, columns).transpose(1, 2).contiguous().bfloat16()
    save_file(tensors, path, metadata={"format": "pt"})


def to_mxfp4(folder):
    """The layout of the published files: rows of gate and up in turns, low nibble first."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    for name in [n for n in tensors if n.endswith(("gate_up_proj", "down_proj"))]:
        values = tensors.pop(name).float().transpose(1, 2)
        groups = values.reshape(*values.shape[:2], -1, 32)
        scales, codes = torch.zeros(groups.shape[:3]), torch.zeros(groups.shape)
        for exponent in range(120, 125):
            units = groups / 2.0 ** (exponent - 127)
            near = (units[..., None] - FP4).abs().min(-1)
            fits = (near.values == 0).all(-1) & (scales == 0)
            scales = torch.where(fits, torch.tensor(float(exponent)), scales)
            codes = torch.where(fits[..., None], near.indices.float(), codes)
        assert (scales > 0).all()
        codes = codes.to(torch.uint8)
        tensors[name + "_blocks"] = (codes[..., 0::2] | codes[..., 1::2] << 4).contiguous()
        tensors[name + "_scales"] = scales.to(torch.uint8).contiguous()
    save_file(tensors, path, metadata={"format": "pt"})

    def edit(config):
        config["quantization_config"] = {
            "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens"],
            "quant_method": "mxfp4",
        }

    edit_config(folder, edit)


def old(edit=to_old_rope):
    return lambda folder: edit_config(folder, edit)


# name: (model_type, changes to TINY, rewrite before the oracle, and after it,
# and whether experts stay stacked as the newer reference has them)
VARIANTS = {
    "mixtral": ("mixtral", dict(num_local_experts=4, num_experts_per_tok=2), old()),
    "mixtral_window": (
        "mixtral",
        dict(num_local_experts=3, num_experts_per_tok=3, sliding_window=8, head_dim=12, tie_word_embeddings=True),
        None,
        None,
        True,
    ),
    "qwen2_moe": (
        "qwen2_moe",
        dict(
            num_hidden_layers=4,
            num_experts=6,
            num_experts_per_tok=4,
            moe_intermediate_size=20,
            shared_expert_intermediate_size=28,
            norm_topk_prob=True,
            use_sliding_window=True,
            sliding_window=7,
            max_window_layers=3,
            decoder_sparse_step=2,
        ),
        None,
        None,
        True,
    ),
    "qwen3_moe": (
        "qwen3_moe",
        dict(
            num_hidden_layers=3,
            head_dim=16,
            num_experts=8,
            num_experts_per_tok=3,
            moe_intermediate_size=24,
            norm_topk_prob=True,
            mlp_only_layers=[1],
            attention_bias=True,
        ),
        old(),
    ),
    "olmoe": (
        "olmoe",
        dict(num_experts=8, num_experts_per_tok=3, clip_qkv=1.0, num_key_value_heads=4, intermediate_size=24),
    ),
    "phimoe": (
        "phimoe",
        dict(
            num_local_experts=6,
            num_experts_per_tok=2,
            attention_bias=True,
            lm_head_bias=True,
            router_jitter_noise=0.3,
            intermediate_size=32,
            sliding_window=30,
            rope_parameters=dict(
                rope_type="longrope",
                rope_theta=10000.0,
                short_factor=[1.0 + 0.05 * i for i in range(4)],
                long_factor=[1.0 + 0.7 * i for i in range(4)],
                short_mscale=1.2,
                long_mscale=1.3,
                original_max_position_embeddings=20,
            ),
        ),
    ),
    "granitemoe": (
        "granitemoe",
        dict(
            num_local_experts=5,
            num_experts_per_tok=3,
            intermediate_size=24,
            embedding_multiplier=12.0,
            attention_multiplier=0.0625,
            residual_multiplier=0.22,
            logits_scaling=8.0,
        ),
    ),
    "glm4_moe": (
        "glm4_moe",
        dict(
            head_dim=16,
            n_routed_experts=8,
            num_experts_per_tok=3,
            moe_intermediate_size=20,
            n_shared_experts=2,
            n_group=4,
            topk_group=2,
            use_qk_norm=True,
            attention_bias=True,
            routed_scaling_factor=1.5,
        ),
    ),
    "gpt_oss": (
        "gpt_oss",
        dict(
            num_hidden_layers=3,
            head_dim=16,
            sliding_window=6,
            num_local_experts=5,
            num_experts_per_tok=3,
            intermediate_size=24,
            swiglu_limit=0.5,
        ),
    ),
    "gpt_oss_mxfp4": (
        "gpt_oss",
        dict(head_dim=16, sliding_window=8, num_local_experts=4, num_experts_per_tok=2, intermediate_size=32),
        draw_mxfp4,
        to_mxfp4,
    ),
    "deepseek_v2": (
        "deepseek_v2",
        dict(
            LATENT,
            q_lora_rank=None,
            n_shared_experts=1,
            n_routed_experts=8,
            num_experts_per_tok=3,
            topk_method="group_limited_greedy",
            n_group=4,
            topk_group=2,
            routed_scaling_factor=1.6,
            attention_bias=True,
            mlp_bias=True,
            rope_parameters=dict(YARN, mscale=0.707, mscale_all_dim=0.9),
        ),
    ),
    "deepseek_v3": (
        "deepseek_v3",
        dict(
            LATENT,
            q_lora_rank=20,
            n_shared_experts=1,
            n_routed_experts=8,
            num_experts_per_tok=3,
            n_group=2,
            topk_group=1,
            rope_parameters=YARN,
        ),
        None,
        to_old_deepseek_v3,
    ),
    "kimi_k2": (
        "deepseek_v3",
        dict(
            LATENT,
            q_lora_rank=20,
            n_shared_experts=2,
            n_routed_experts=6,
            num_experts_per_tok=2,
            n_group=1,
            topk_group=1,
            routed_scaling_factor=2.827,
        ),
        None,
        to_kimi,
        True,
    ),
    "dots1": (
        "dots1",
        dict(
            num_hidden_layers=3,
            head_dim=12,
            n_routed_experts=8,
            num_experts_per_tok=3,
            moe_intermediate_size=20,
            n_shared_experts=2,
            first_k_dense_replace=1,
            norm_topk_prob=True,
            routed_scaling_factor=2.5,
            sliding_window=7,
            max_window_layers=1,
        ),
    ),
    "minimax_m2": (
        "minimax_m2",
        dict(head_dim=24, num_local_experts=6, num_experts_per_tok=3, rotary_dim=12, intermediate_size=24),
    ),
    "ernie4_5_moe": (
        "ernie4_5_moe",
        dict(
            num_hidden_layers=4,
            head_dim=12,
            moe_num_experts=6,
            moe_k=3,
            moe_intermediate_size=20,
            moe_num_shared_experts=1,
            moe_layer_start_index=1,
            moe_layer_end_index=2,
            use_bias=True,
        ),
    ),
}


def random_model(kind, fields, seed):
    torch.manual_seed(seed)
    config = AutoConfig.for_model(kind, **fields)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() >= 2:
                weight.normal_(0, 0.12)
            else:
                weight.add_(torch.randn_like(weight) * (0.1 if "norm" in name else 0.05))
        for name, buffer in model.named_buffers():
            if "correction" in name:
                buffer.add_(torch.randn_like(buffer) * 0.1)
    return model


def make(root, name, kind, changes, before=None, after=None, stacked=False):
    fields = {**TINY, **changes}
    seed = zlib.crc32(name.encode()) % 100000
    folder = root / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = random_model(kind, fields, seed).to(torch.bfloat16)
    model.save_pretrained(folder, save_original_format=not stacked)
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
