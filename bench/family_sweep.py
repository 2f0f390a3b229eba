#!/usr/bin/env python3
"""Checkpoints that nobody has looked at before: every family with options drawn at
random, against what the reference implementation computes from the same folder.

    family_sweep.py FOLDER [--families a,b] [--count 3] [--seed 0]
                    [--roofline build/release/roofline] [--keep]

needs torch and transformers; run by hand. Sizes, tied or not, biases, activations,
windows, patterns of layers, rope scalings in the old and the new style, absent
fields, one or several files, bf16, f16 and f32. Logits within 0.01 standard
deviations and the same greedy token at every position, or the folder is kept and
named. With --keep every folder stays and has a golden.safetensors: then

    ROOFLINE_GOLDENS_FOLDER=FOLDER build/release/model_tests --gtest_filter='*Golden.*'

runs them in chunks, token by token and in batches as well.
"""

import argparse
import json
import pathlib
import random
import shutil
import subprocess
import sys
import traceback
import warnings

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

ROOT = pathlib.Path(__file__).parents[1]
TOKENS, PROMPT, CONTINUED = 40, 12, 24
LONG = 530  # more than a chunk, and than a cache has room for at first
BOUND = 0.01

logging.set_verbosity_error()
logging.disable_progress_bar()
warnings.filterwarnings("ignore")


class Draw(random.Random):
    def one(self, *values):
        return self.choice(values)

    def flag(self):
        return self.random() < 0.5


def sizes(d):
    heads = d.one(1, 2, 3, 4, 5, 6, 8)
    per = d.one(8, 12, 16, 20, 24, 32, 48)
    return dict(
        vocab_size=d.one(96, 131, 160, 200, 1031),
        hidden_size=heads * per,
        intermediate_size=d.one(32, 33, 40, 72, 96, 100, 171, 260),
        num_hidden_layers=d.one(1, 2, 3, 4, 6),
        num_attention_heads=heads,
        num_key_value_heads=d.choice([k for k in range(1, heads + 1) if heads % k == 0]),
        max_position_embeddings=d.one(24, 32, 128, 512),
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )


def rope_of(d, half, kinds, positions):
    """half: pairs that rotate."""
    kind = d.choice(kinds)
    theta = d.one(1000.0, 10000.0, 500000.0)
    out: dict = dict(rope_type=kind, rope_theta=theta)
    if kind in ("linear", "dynamic", "yarn", "llama3", "longrope"):
        out["factor"] = d.one(1.5, 2.0, 4.0, 8.0)
    if kind == "dynamic" and d.flag():
        out["original_max_position_embeddings"] = d.one(8, 16, 64)
    if kind == "llama3":
        out.update(low_freq_factor=d.one(1.0, 2.0), high_freq_factor=d.one(4.0, 6.0))
        out["original_max_position_embeddings"] = d.one(16, 24)
    if kind == "yarn":
        if d.flag():
            out["original_max_position_embeddings"] = d.one(8, 16, 20)
        if d.flag():
            out.update(beta_fast=d.one(32.0, 8.0), beta_slow=d.one(1.0, 2.0))
        if d.flag():
            out["truncate"] = d.flag()
        more = d.one("", "attention", "mscale", "both")
        if more == "attention":
            out["attention_factor"] = d.one(1.0, 1.25)
        if more in ("mscale", "both"):
            out["mscale"] = d.one(0.707, 1.0, 1.3)
        if more == "both":
            out["mscale_all_dim"] = d.one(0.9, 1.0)
    if kind == "longrope":
        out["short_factor"] = [round(1.0 + 0.05 * i * d.random(), 3) for i in range(half)]
        out["long_factor"] = [round(1.0 + 0.9 * i * d.random(), 3) for i in range(half)]
        out["original_max_position_embeddings"] = d.one(16, 24, positions)
        if d.flag():
            out["attention_factor"] = d.one(1.1, 1.3)
    return out


# No file goes without these, and we ask for them.
SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
SCALINGS = ["default", "default", "linear", "dynamic", "yarn", "llama3", "longrope"]
ACTS = [
    "silu", "gelu", "gelu_pytorch_tanh", "gelu_new", "relu", "swish", "silu", "gelu", "quick_gelu", "gelu_10", "mish", "hardswish",
    "leaky_relu", "relu6", "tanh", "sigmoid", "laplace", "linear", "gelu_accurate", "gelu_python",
]  # fmt: skip


def windows(d, layers, names=("sliding_attention", "full_attention")):
    return [d.choice(names) for _ in range(layers)]


def dense(d, head_dim=None, scalings=SCALINGS, partial=None, acts=ACTS, **more):
    """Options that most families have. partial: shares of a head that rotate."""
    f = sizes(d)
    heads = f["num_attention_heads"]
    dim = f["hidden_size"] // heads
    if head_dim is True or (head_dim is None and d.flag()):
        dim = d.one(8, 10, 12, 16, 24, 32, 40, 64, 80, 96, 128)
        f["head_dim"] = dim
        if d.flag():
            f["hidden_size"] = d.one(36, 50, 64, 90, 100, 160)
    if dim % 8 and partial:
        dim = f["head_dim"] = 16
        if head_dim is False:
            f["hidden_size"], _ = 16 * heads, f.pop("head_dim")
    rotated = dim
    rope_extra = {}
    if partial:
        share = d.choice(partial)
        rotated = int(dim * share)
        rope_extra["partial_rotary_factor"] = share
    f["rope_parameters"] = {**rope_of(d, rotated // 2, scalings, f["max_position_embeddings"]), **rope_extra}
    f["tie_word_embeddings"] = d.flag()
    if acts:
        f["hidden_act"] = d.choice(acts)
    f["rms_norm_eps"] = d.one(1e-5, 1e-6, 1e-3)
    f.update(more)
    return f


def layered(f, d, fields=("attention_bias",)):
    for field in fields:
        f[field] = d.flag()
    return f


def with_window(f, d, pattern=True, null=True):
    f["sliding_window"] = d.one(4, 8, 13, 64, *([None] if null else []))
    if pattern and f["sliding_window"] is not None and d.flag():
        f["layer_types"] = windows(d, f["num_hidden_layers"])
    return f


def experts(d, count, top, **names):
    n = d.one(3, 4, 6, 8, 17, 32)
    return {count: n, top: d.randint(1, min(n, 8)), **names}


def latent(d):
    f = dense(d, head_dim=False, scalings=["default", "yarn"], acts=["silu"])
    f["num_key_value_heads"] = f["num_attention_heads"]
    f["attention_bias"] = d.flag()
    groups = d.one(1, 2, 4)
    f.update(
        q_lora_rank=d.one(None, 12, 20),
        kv_lora_rank=d.one(8, 16, 20),
        qk_rope_head_dim=d.one(4, 8),
        qk_nope_head_dim=d.one(8, 12),
        v_head_dim=d.one(6, 8, 12),
        moe_intermediate_size=d.one(16, 24),
        first_k_dense_replace=d.one(0, 1),
        n_routed_experts=8,
        num_experts_per_tok=d.one(2, 3),
        n_shared_experts=d.one(1, 2),
        n_group=groups,
        topk_group=d.randint(1, groups),
        routed_scaling_factor=d.one(1.0, 1.6, 2.5),
    )
    if f["topk_group"] * 8 // groups < f["num_experts_per_tok"]:
        f["topk_group"] = groups
    return f


def gemma3(d):
    f = dense(d, head_dim=True, acts=None)
    f["sliding_window"] = d.one(4, 8, 16)
    layers = f["num_hidden_layers"]
    f["layer_types"] = windows(d, layers)
    f["query_pre_attn_scalar"] = d.one(16, 24, 256)
    rope = f["rope_parameters"]
    f["rope_parameters"] = {
        "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0},
        "full_attention": rope if rope["rope_type"] in ("default", "linear") else {"rope_type": "default", "rope_theta": 9000.0},
    }
    f["hidden_activation"] = d.one("gelu_pytorch_tanh", "silu", "gelu")
    f["final_logit_softcapping"] = d.one(None, 5.0)
    f["attn_logit_softcapping"] = d.one(None, 2.0)
    f["attention_bias"] = d.flag()
    return f


def gemma2(d):
    f = dense(d, head_dim=True, acts=None)
    f["sliding_window"] = d.one(4, 8, 16)
    f["query_pre_attn_scalar"] = d.one(16, 24, 256)
    f["hidden_activation"] = d.one("gelu_pytorch_tanh", "gelu")
    f["final_logit_softcapping"] = d.one(None, 5.0, 30.0)
    f["attn_logit_softcapping"] = d.one(None, 2.0, 50.0)
    f["attention_bias"] = d.flag()
    if d.flag():
        f["layer_types"] = windows(d, f["num_hidden_layers"])
    return f


def gemma3n(d):
    f = sizes(d)
    layers = d.one(3, 5, 6)
    shared = d.one(0, 2) if layers > 3 else 0
    types = windows(d, layers - shared)
    types[0], types[-1] = "sliding_attention", "full_attention"
    f.update(
        num_hidden_layers=layers,
        head_dim=d.one(8, 16),
        sliding_window=d.one(4, 8),
        vocab_size_per_layer_input=90,
        hidden_size_per_layer_input=d.one(4, 8),
        num_kv_shared_layers=shared,
        laurel_rank=d.one(4, 6),
        layer_types=types + windows(d, shared),
        altup_num_inputs=d.one(2, 3, 4),
        altup_correct_scale=d.flag(),
        activation_sparsity_pattern=[d.one(0.0, 0.5, 0.95) for _ in range(layers)],
        final_logit_softcapping=d.one(5.0, 30.0),
    )
    f["altup_active_idx"] = d.randint(0, f["altup_num_inputs"] - 1)
    return f


def gemma4(d):
    f = sizes(d)
    layers = d.one(3, 4, 6)
    shared = d.one(0, 2) if layers > 3 else 0
    types = windows(d, layers - shared)
    types[0], types[-1] = "sliding_attention", "full_attention"
    f.update(
        num_hidden_layers=layers,
        head_dim=d.one(8, 16),
        global_head_dim=d.one(8, 16, 24),
        sliding_window=d.one(4, 8),
        vocab_size_per_layer_input=f["vocab_size"],
        hidden_size_per_layer_input=d.one(0, 8),
        num_kv_shared_layers=shared,
        layer_types=types + windows(d, shared),
        use_double_wide_mlp=d.flag(),
        final_logit_softcapping=d.one(None, 5.0),
        attention_k_eq_v=d.flag(),
    )
    f["layer_types"][-1] = "full_attention"
    f["num_global_key_value_heads"] = d.one(None, 1)
    if d.flag():
        f["enable_moe_block"] = True
        f.update(experts(d, "num_experts", "top_k_experts", moe_intermediate_size=d.one(16, 24)))
    return f


def qwen_window(f, d):
    f["use_sliding_window"] = d.flag()
    f["sliding_window"] = d.one(4, 8, None)
    if f["use_sliding_window"] and f["sliding_window"] is None:
        f["sliding_window"] = 6
    f["max_window_layers"] = d.randint(0, f["num_hidden_layers"])
    return f


def qwen2_moe(d):
    f = qwen_window(dense(d, head_dim=False), d)
    f["rope_parameters"] = rope_of(d, f["hidden_size"] // f["num_attention_heads"] // 2, SCALINGS, 32)
    f.update(experts(d, "num_experts", "num_experts_per_tok", moe_intermediate_size=20, shared_expert_intermediate_size=28))
    f.update(norm_topk_prob=d.flag(), decoder_sparse_step=d.one(1, 2), mlp_only_layers=d.one([], [1]))
    f["qkv_bias"] = d.flag()
    return f


def qwen3_moe(d):
    f = qwen_window(layered(dense(d, head_dim=True), d), d)
    f.update(experts(d, "num_experts", "num_experts_per_tok", moe_intermediate_size=20))
    f.update(norm_topk_prob=d.flag(), decoder_sparse_step=d.one(1, 2), mlp_only_layers=d.one([], [1]))
    return f


def delta(d, moe):
    f = dense(d, head_dim=True, partial=[0.25, 0.5, 1.0], scalings=["default", "linear", "yarn"])
    f["head_dim"] = 16
    f["hidden_act"] = "silu"
    keys = d.one(1, 2, 3)
    f.update(
        linear_num_key_heads=keys,
        linear_num_value_heads=keys * d.one(1, 2),
        linear_key_head_dim=d.one(8, 12, 16),
        linear_value_head_dim=d.one(8, 12),
        linear_conv_kernel_dim=d.one(2, 4),
        attention_bias=d.flag(),
    )
    types = windows(d, f["num_hidden_layers"], ("linear_attention", "full_attention"))
    if d.flag():
        types[0], types[-1] = "linear_attention", "full_attention"
    f["layer_types"] = types
    f["rope_parameters"] = dict(rope_type="default", rope_theta=1e4, partial_rotary_factor=d.one(0.25, 0.5))
    if moe:
        f.update(experts(d, "num_experts", "num_experts_per_tok", moe_intermediate_size=20, shared_expert_intermediate_size=24))
        f["intermediate_size"] = 48
    return f


def mamba2(d):
    heads, width = d.one(2, 4, 6), d.one(8, 16)
    hidden = d.one(32, 48)
    f = dict(
        vocab_size=d.one(96, 131), hidden_size=hidden, num_hidden_layers=d.one(2, 3), num_heads=heads, head_dim=width,
        state_size=d.one(8, 12, 16), n_groups=d.one(1, 2), chunk_size=d.one(8, 16), conv_kernel=d.one(3, 4),
        use_bias=d.flag(), use_conv_bias=d.flag(), tie_word_embeddings=d.flag(),
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
        rms_norm=True,
    )  # fmt: skip
    f["expand"] = 1
    f["num_heads"] = hidden // width
    if d.flag():
        f["time_step_limit"] = (0.05, 0.6)
    return f


def falcon_h1(d):
    f = dense(d, head_dim=True, scalings=["default", "linear"])
    heads, width = d.one(2, 4), d.one(8, 16)
    f.update(
        hidden_act="silu", mamba_d_ssm=heads * width, mamba_n_heads=heads, mamba_d_head=width, mamba_d_state=d.one(8, 12),
        mamba_n_groups=d.one(1, 2), mamba_chunk_size=16, mamba_d_conv=d.one(3, 4), mamba_rms_norm=d.flag(),
        mamba_norm_before_gate=d.flag(), projectors_bias=d.flag(), mamba_proj_bias=d.flag(), mamba_conv_bias=d.flag(),
        mlp_bias=d.flag(), attention_bias=d.flag(),
    )  # fmt: skip
    if d.flag():
        f.update(
            lm_head_multiplier=0.3, embedding_multiplier=3.0, mlp_multipliers=[0.7, 2.1], key_multiplier=0.4,
            attention_out_multiplier=1.7, attention_in_multiplier=0.9, ssm_multipliers=[0.5, 2.0, 1.5, 0.25, 2.0],
            ssm_in_multiplier=1.3, ssm_out_multiplier=0.5,
        )  # fmt: skip
    return f


def granite_factors(f, d):
    f.update(
        embedding_multiplier=d.one(1.0, 12.0),
        attention_multiplier=d.one(1.0, 0.0625, 0.3),
        residual_multiplier=d.one(1.0, 0.22),
        logits_scaling=d.one(1.0, 8.0),
    )
    return f


def granite_hybrid(d):
    f = granite_factors(dense(d, head_dim=False), d)
    dim = f["hidden_size"]
    heads = d.one(2, 4)
    f.update(
        hidden_act="silu", shared_intermediate_size=40, mamba_n_heads=heads, mamba_d_head=2 * dim // heads, mamba_expand=2,
        mamba_d_state=d.one(8, 12), mamba_n_groups=d.one(1, 2), mamba_chunk_size=16, mamba_conv_bias=d.flag(),
        mamba_proj_bias=d.flag(), attention_bias=d.flag(), position_embedding_type=d.one("rope", None, "nope"),
    )  # fmt: skip
    types = windows(d, f["num_hidden_layers"], ("mamba", "attention"))
    if d.flag():
        types[0] = "mamba"
    f["layer_types"] = types
    if d.flag():
        f.update(num_local_experts=0, num_experts_per_tok=0)
    else:
        f.update(experts(d, "num_local_experts", "num_experts_per_tok"))
    return f


def nemotron_h(d):
    f = dense(d, head_dim=True, scalings=["default"])
    f.pop("rope_parameters")
    f.pop("num_hidden_layers")
    f.pop("hidden_act")
    kinds = windows(d, d.one(3, 4, 5), ("linear_attention", "full_attention", "mlp", "moe"))
    if d.flag():
        kinds[0] = "linear_attention"
    f.update(
        layers_block_type=kinds, mamba_num_heads=4, mamba_head_dim=d.one(8, 12), ssm_state_size=d.one(8, 12),
        n_groups=d.one(1, 2), chunk_size=16, moe_intermediate_size=24, moe_shared_expert_intermediate_size=40,
        n_routed_experts=8, num_experts_per_tok=d.one(2, 3), n_group=d.one(1, 2), topk_group=1,
        routed_scaling_factor=d.one(1.0, 2.5), moe_latent_size=d.one(None, 20), mlp_bias=d.flag(), use_bias=d.flag(),
        attention_bias=d.flag(), use_conv_bias=d.flag(), norm_topk_prob=d.flag(), conv_kernel=d.one(3, 4),
        mlp_hidden_act=d.one("relu2", "silu"),
    )  # fmt: skip
    return f


def lfm2(d, moe=False):
    f = dense(d, head_dim=False, scalings=["default", "linear", "yarn"], acts=None)
    f.pop("rms_norm_eps")
    types = windows(d, f["num_hidden_layers"], ("conv", "full_attention"))
    if d.flag():
        types[0] = "conv"
    f.update(layer_types=types, conv_bias=d.flag(), conv_L_cache=d.one(2, 3, 4), norm_eps=d.one(1e-5, 1e-3))
    if moe:
        f.update(experts(d, "num_experts", "num_experts_per_tok", moe_intermediate_size=20))
        f.update(num_dense_layers=d.one(0, 1), norm_topk_prob=d.flag(), use_expert_bias=d.flag(), routed_scaling_factor=d.one(1.0, 2.5))
    else:
        f.update(block_multiple_of=8, block_auto_adjust_ff_dim=d.flag(), block_ffn_dim_multiplier=d.one(1.0, 1.3))
    return f


def gpt_oss(d):
    f = dense(d, head_dim=True, scalings=["default", "yarn"], acts=None)
    f.update(experts(d, "num_local_experts", "num_experts_per_tok"))
    f.update(sliding_window=d.one(4, 8), swiglu_limit=d.one(0.5, 7.0), attention_bias=d.flag())
    if d.flag():
        f["layer_types"] = windows(d, f["num_hidden_layers"])
    return f


def phimoe(d):
    f = dense(d, head_dim=False, scalings=["default", "longrope"])
    f.update(experts(d, "num_local_experts", "num_experts_per_tok"))
    f["num_experts_per_tok"] = 2
    f.update(attention_bias=d.flag(), lm_head_bias=d.flag(), sliding_window=d.one(None, 8), router_jitter_noise=0.2)
    rope = f["rope_parameters"]
    if rope["rope_type"] == "longrope":
        rope.pop("factor"), rope.pop("attention_factor", None)
        rope.update(short_mscale=1.2, long_mscale=1.3)
    return f


def no_norm_eps(f, **more):
    f.pop("rms_norm_eps")
    f.update(more)
    return f


def stablelm(d):
    f = no_norm_eps(dense(d, head_dim=False, partial=[0.25, 0.5, 1.0]), layer_norm_eps=d.one(1e-5, 1e-3))
    return layered(f, d, ["use_qkv_bias", "qk_layernorm", "use_parallel_residual"])


def phi(d):
    f = no_norm_eps(dense(d, head_dim=False, partial=[0.25, 0.5, 1.0]), layer_norm_eps=d.one(1e-5, 1e-3))
    return layered(f, d, ["qk_layernorm"])


def neox(d):
    f = no_norm_eps(dense(d, head_dim=False, partial=[0.25, 0.5, 1.0]), layer_norm_eps=d.one(1e-5, 1e-3))
    f.pop("num_key_value_heads")
    return layered(f, d, ["use_parallel_residual", "attention_bias"])


def gpt2(d):
    f = sizes(d)
    f.pop("num_key_value_heads")
    f["max_position_embeddings"] = 64
    if d.flag():
        f.pop("intermediate_size")
    f["activation_function"] = d.choice(ACTS[:5])
    f["n_inner"] = f.pop("intermediate_size", None)
    f["tie_word_embeddings"] = d.flag()
    return layered(f, d, ["scale_attn_by_inverse_layer_idx", "scale_attn_weights", "reorder_and_upcast_attn"])


def cohere(d, two=False):
    f = no_norm_eps(dense(d, head_dim=False if not two else None), layer_norm_eps=d.one(1e-5, 1e-3), logit_scale=d.one(0.25, 1.0, 0.0625))
    f["attention_bias"] = d.flag()
    if two:
        return with_window(f, d, null=False)
    f.pop("head_dim", None)
    f["use_qk_norm"] = d.flag()
    return f


def olmo3(d):
    f = dense(d, head_dim=False, scalings=["default", "yarn"])
    f["sliding_window"] = d.one(4, 8)
    if d.flag():
        f["layer_types"] = windows(d, f["num_hidden_layers"])
    f["attention_bias"] = d.flag()
    rope = f["rope_parameters"]
    f["rope_parameters"] = {"full_attention": rope, "sliding_attention": dict(rope_type="default", rope_theta=rope["rope_theta"])}
    return f


def smollm3(d):
    f = layered(dense(d, head_dim=False), d, ["attention_bias", "mlp_bias", "use_sliding_window"])
    f["sliding_window"] = d.one(6, 12) if f["use_sliding_window"] else None
    if d.flag():
        f["no_rope_layer_interval"] = d.one(2, 3)
    else:
        f["no_rope_layers"] = [d.one(0, 1) for _ in range(f["num_hidden_layers"])]
    return f


def ernie_moe(d):
    f = dense(d, head_dim=False)
    f.update(experts(d, "moe_num_experts", "moe_k", moe_intermediate_size=20, moe_num_shared_experts=d.one(1, 2)))
    layers = f["num_hidden_layers"]
    f.update(moe_layer_start_index=d.one(0, 1), moe_layer_end_index=d.one(layers - 1, -1), moe_layer_interval=d.one(1, 2), use_bias=d.flag())
    return f


def glm4_moe(d):
    f = dense(d, head_dim=True, partial=[0.25, 0.5, 1.0])
    groups = d.one(1, 2)
    f.update(
        n_routed_experts=8, num_experts_per_tok=d.one(2, 3), moe_intermediate_size=20, n_shared_experts=d.one(1, 2),
        n_group=groups, topk_group=groups, use_qk_norm=d.flag(), attention_bias=d.flag(), routed_scaling_factor=d.one(1.0, 1.5),
        norm_topk_prob=d.flag(), first_k_dense_replace=d.one(0, 1),
    )  # fmt: skip
    return f


def dots1(d):
    f = glm4_moe(d)
    f.pop("use_qk_norm")
    f["rope_parameters"].pop("partial_rotary_factor")
    rope = f["rope_parameters"]
    if rope["rope_type"] == "longrope":
        f["rope_parameters"] = dict(rope_type="default", rope_theta=1e4)
    if d.flag():
        f.update(sliding_window=d.one(4, 8), max_window_layers=d.randint(0, f["num_hidden_layers"]))
    return f


def minimax_m2(d):
    f = dense(d, head_dim=True, scalings=["default", "linear"], partial=[0.25, 0.5])
    f.update(experts(d, "num_local_experts", "num_experts_per_tok"))
    f["head_dim"] = 16
    f["rotary_dim"] = int(16 * f["rope_parameters"]["partial_rotary_factor"])
    return f


def ministral3(d):
    f = dense(d, head_dim=True, scalings=["default", "yarn"])
    if f["rope_parameters"]["rope_type"] == "yarn":
        f["rope_parameters"].setdefault("original_max_position_embeddings", 16)
        f["rope_parameters"]["llama_4_scaling_beta"] = d.one(0.1, 0.3)
        f["sliding_window"] = d.one(None, 12)
    else:
        f["rope_parameters"].update(llama_4_scaling_beta=0.2, original_max_position_embeddings=16)
    return f


def hunyuan(d):
    f = dense(d, head_dim=True, scalings=["default", "linear", "hunyuan"])
    if f["rope_parameters"]["rope_type"] == "hunyuan":
        f["rope_parameters"] = dict(rope_type="dynamic", rope_theta=1e4, alpha=d.one(10.0, 1000.0), factor=1.0)
    f["attention_bias"] = d.flag()
    return f


def whole_heads(f):
    """The family's default would be another."""
    return {**f, "head_dim": f["hidden_size"] // f["num_attention_heads"]}


FAMILIES = {
    "llama": lambda d: layered(dense(d), d, ["attention_bias", "mlp_bias"]),
    "mistral": lambda d: with_window(dense(d), d, pattern=False),
    "ministral": lambda d: with_window(dense(d, head_dim=True), d, null=False),
    "ministral3": ministral3,
    "mixtral": lambda d: with_window({**dense(d, head_dim=True), **experts(d, "num_local_experts", "num_experts_per_tok")}, d, pattern=False),
    "qwen2": lambda d: qwen_window(dense(d, head_dim=False), d),
    "qwen2_moe": qwen2_moe,
    "qwen3": lambda d: qwen_window(layered(dense(d, head_dim=True), d), d),
    "qwen3_moe": qwen3_moe,
    "qwen3_next": lambda d: {**delta(d, True), "norm_topk_prob": d.flag()},
    "qwen3_5_text": lambda d: delta(d, False),
    "qwen3_5_moe_text": lambda d: delta(d, True),
    "gemma": lambda d: layered(dense(d, head_dim=True, acts=["gelu_pytorch_tanh", "gelu"]), d),
    "gemma2": gemma2,
    "gemma3_text": gemma3,
    "gemma3n_text": gemma3n,
    "gemma4_text": gemma4,
    "phi": phi,
    "phi3": lambda d: with_window(dense(d, head_dim=False, scalings=["default", "longrope"], partial=[0.5, 1.0]), d, pattern=False),
    "phimoe": phimoe,
    "olmo": lambda d: no_norm_eps(layered(dense(d, head_dim=False), d), clip_qkv=d.one(None, 0.5)),
    "olmo2": lambda d: layered(dense(d, head_dim=False), d),
    "olmo3": olmo3,
    "olmoe": lambda d: {
        **layered(dense(d, head_dim=False), d), **experts(d, "num_experts", "num_experts_per_tok"),
        "clip_qkv": d.one(None, 0.5), "norm_topk_prob": d.flag()},
    "smollm3": smollm3,
    "granite": lambda d: granite_factors(layered(dense(d, head_dim=False), d, ["attention_bias", "mlp_bias"]), d),
    "granitemoe": lambda d: {
        **granite_factors(layered(dense(d, head_dim=False), d), d), **experts(d, "num_local_experts", "num_experts_per_tok")},
    "granitemoehybrid": granite_hybrid,
    "cohere": cohere,
    "cohere2": lambda d: cohere(d, True),
    "glm": lambda d: layered(dense(d, head_dim=True, partial=[0.25, 0.5, 1.0]), d),
    "glm4": lambda d: layered(dense(d, head_dim=True, partial=[0.25, 0.5, 1.0]), d),
    "glm4_moe": glm4_moe,
    "gpt_oss": gpt_oss,
    "deepseek_v2": lambda d: {**latent(d), "topk_method": d.one("greedy", "group_limited_greedy"), "mlp_bias": d.flag()},
    "deepseek_v3": lambda d: {**latent(d), "norm_topk_prob": d.flag(), "rope_interleave": d.flag()},
    "starcoder2": lambda d: with_window(no_norm_eps(
        dense(d, head_dim=False), norm_epsilon=d.one(1e-5, 1e-3), use_bias=d.flag()), d, pattern=False),
    "stablelm": stablelm,
    "nemotron": lambda d: layered(no_norm_eps(
        dense(d, head_dim=True, partial=[0.5, 1.0]), norm_eps=d.one(1e-5, 1e-3), hidden_act=d.one("relu2", "silu")),
        d, ["attention_bias", "mlp_bias"]),
    "nemotron_h": nemotron_h,
    "gpt2": gpt2,
    "gpt_neox": neox,
    "exaone4": lambda d: {
        **with_window(dense(d, head_dim=False), d, null=False), "sliding_window_pattern": d.one(2, 3)},
    "ernie4_5": lambda d: layered(dense(d), d, ["use_bias"]),
    "ernie4_5_moe": ernie_moe,
    "hunyuan_v1_dense": hunyuan,
    "seed_oss": lambda d: layered(dense(d, head_dim=True), d, ["attention_bias", "attention_out_bias", "mlp_bias"]),
    "lfm2": lfm2,
    "lfm2_moe": lambda d: lfm2(d, True),
    "mamba2": mamba2,
    "falcon_h1": falcon_h1,
    "apertus": lambda d: layered(dense(d, acts=None), d),
    "arcee": lambda d: layered(dense(d, acts=["relu2", "silu"]), d, ["attention_bias", "mlp_bias"]),
    "helium": lambda d: layered(whole_heads(dense(d, head_dim=False)), d, ["attention_bias", "mlp_bias"]),
    "dots1": dots1,
    "minimax_m2": minimax_m2,
    "bitnet": lambda d: layered(dense(d, head_dim=False, acts=["relu2"]), d),
}  # fmt: skip


@torch.no_grad()
def random_model(kind, fields, seed):
    torch.manual_seed(seed)
    config = AutoConfig.for_model(kind, **fields)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float()
    if seed % 4 == 3:
        return model  # as the family initializes itself
    for name, weight in model.named_parameters():
        if "conv" in name and weight.dim() == 3:
            weight.normal_(0, 0.4)
        elif name.endswith("A_log"):
            weight.uniform_(-1, 1)
        elif name.endswith("dt_bias"):
            weight.normal_(-2, 1)
        elif weight.dim() >= 2 and "norm" not in name:
            weight.normal_(0, 0.12)
        else:
            weight.add_(torch.randn_like(weight) * 0.1)
    for name, buffer in model.named_buffers():
        if "correction" in name or "expert_bias" in name:
            buffer.add_(torch.randn_like(buffer) * 0.1)
    return model


def old_rope(config, d):
    """rope_theta and rope_scaling, as configs were written before."""
    rope = config.get("rope_parameters")
    if not rope or "rope_theta" not in rope:
        return
    rope = dict(rope)
    neox = config["model_type"] == "gpt_neox"
    del config["rope_parameters"]
    config["rotary_emb_base" if neox else "rope_theta"] = rope.pop("rope_theta")
    partial = rope.pop("partial_rotary_factor", None)
    if partial is not None:
        config["rotary_pct" if neox else "partial_rotary_factor"] = partial
    kind = rope.pop("rope_type")
    original = "original_max_position_embeddings"
    if kind == "longrope" and original in rope and d.flag():
        config[original] = rope[original]
    config["rope_scaling"] = None if kind == "default" else {d.one("type", "rope_type"): kind, **rope}


def rewrite(folder, kind, d):
    """Old styles, and fields that are absent because they have the default."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    if d.flag():
        old_rope(config, d)
    if d.flag():
        config["torch_dtype"] = config.pop("dtype")
    defaults = AutoConfig.for_model(kind).to_dict()
    keep = ("model_type", "architectures", "layer_types", "rope_parameters", *SIZES)
    for field in list(config):
        if field not in keep and defaults.get(field, ...) == config[field] and d.flag():
            del config[field]
    path.write_text(json.dumps(config, indent=1, sort_keys=True))


# The multimodal family whose language model the text family is.
WRAPPERS = {
    "gemma3_text": "gemma3", "gemma3n_text": "gemma3n", "gemma4_text": "gemma4", "mistral": "mistral3",
    "ministral3": "mistral3", "qwen3_5_text": "qwen3_5", "qwen3_5_moe_text": "qwen3_5_moe",
}  # fmt: skip


def wrap(folder, kind, d):
    """As a part of a checkpoint that sees as well, after its oracle."""
    path = folder / "config.json"
    text = json.loads(path.read_text())
    outer = {"model_type": WRAPPERS[kind], "vision_config": {"hidden_size": 8}, "image_token_id": 5, "dtype": "bfloat16"}
    for field in ("architectures", "dtype", "torch_dtype", "transformers_version"):
        text.pop(field, None)
    if "tie_word_embeddings" in text and d.flag():
        outer["tie_word_embeddings"] = text.pop("tie_word_embeddings")
    path.write_text(json.dumps({**outer, "text_config": text}, indent=1))
    prefix = d.one("model.language_model.", "language_model.model.")
    file = folder / "model.safetensors"
    renamed = {"vision_tower.norm.weight": torch.ones(8)}
    for name, value in load_file(file).items():
        head = ("language_model." if prefix.startswith("l") else "") + name
        renamed[prefix + name.removeprefix("model.") if name.startswith("model.") else head] = value
    save_file(renamed, file, metadata={"format": "pt"})


def kind_of(folder):
    return json.loads((folder / "config.json").read_text())["model_type"]


@torch.no_grad()
def reference(folder, vocab, seed, again):
    def load():
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager"
        ).eval()

    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, min(vocab, 96), (2, TOKENS), generator=draw)
    model = load()
    if kind_of(folder) != "gpt2":  # it has so many positions only
        long_ids = torch.randint(3, min(vocab, 96), (1, LONG), generator=draw)
        save_file(
            {"input_ids": long_ids.int(), "logits": load()(long_ids, use_cache=False).logits.float().contiguous()},
            folder / "long.safetensors",
        )
    logits = model(ids, use_cache=False).logits.float()
    if not torch.isfinite(logits).all() or logits.std() < 1e-4:
        return None
    greedy = ids[:1, :PROMPT]
    for _ in range(CONTINUED if again else 0):
        if "dynamic" in (folder / "config.json").read_text():
            model = load()  # it remembers the longest
        greedy = torch.cat([greedy, model(greedy, use_cache=False).logits[:, -1:].argmax(-1)], 1)
    return {"input_ids": ids.int(), "logits": logits.contiguous(), "greedy": greedy.int()}


def ours(roofline, folder, ids):
    (folder / "ids.json").write_text(json.dumps(ids.tolist()))
    out = folder / "ours.safetensors"
    done = subprocess.run(
        [roofline, "logits", folder, "--exact", "--ids", folder / "ids.json", "--out", out],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode != 0:
        return done.stderr.strip()
    return load_file(out)["logits"]


def compare(theirs, mine):
    if isinstance(mine, str):
        return "error: " + " ".join(mine.split())[:300]
    far = ((mine - theirs).abs().max() / theirs.std()).item()
    top = theirs.topk(2, -1).values
    sure = (top[..., 0] - top[..., 1]) > 0.02 * theirs.std()
    other = ((mine.argmax(-1) != theirs.argmax(-1)) & sure).sum().item()
    if not far <= BOUND or other:
        return f"{far:.4f} deviations, {other} other tokens"
    return None


def make(folder, kind, seed, again):
    """None when the reference itself can't."""
    d = Draw(f"{kind}-{seed}")
    fields = FAMILIES[kind](d)
    if d.flag() and AutoConfig.for_model(kind).to_dict().get("num_key_value_heads", 0) is None:
        fields.pop("num_key_value_heads", None)  # then all heads have their own
    dtype = d.one(torch.bfloat16, torch.bfloat16, torch.float16, torch.float32)
    wrapped = kind in WRAPPERS and d.flag()
    shard = "1GB" if wrapped else d.one("1GB", "1GB", "60KB")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        model = random_model(kind, fields, seed).to(dtype)
        model.save_pretrained(folder, max_shard_size=shard, save_original_format=d.flag())
        rewrite(folder, kind, d)
        (folder / "generation_config.json").unlink(missing_ok=True)
        golden = reference(folder, fields["vocab_size"], seed, again)
    except Exception as error:  # the reference refuses what was drawn
        return None, f"{type(error).__name__}: {str(error)[:100]}"
    if golden is None:
        return None, "not finite"
    save_file(golden, folder / "golden.safetensors")
    if wrapped:
        wrap(folder, kind, d)
    return golden, None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--roofline", default=ROOT / "build/release/roofline")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    failures = checked = refused = 0
    for kind in options.families.split(","):
        for seed in range(options.seed, options.seed + options.count):
            folder = options.folder / f"{kind}_{seed}"
            golden, why = make(folder, kind, seed, options.keep)
            if golden is None:
                refused += 1
                print(f"     {folder.name}: not by the reference ({why})", flush=True)
                shutil.rmtree(folder)
                continue
            checked += 1
            try:
                wrong = compare(golden["logits"], ours(options.roofline, folder, golden["input_ids"]))
                if not wrong and (folder / "long.safetensors").exists():
                    long = load_file(folder / "long.safetensors")
                    wrong = compare(long["logits"], ours(options.roofline, folder, long["input_ids"]))
            except Exception:
                wrong = traceback.format_exc(limit=1)
            failures += wrong is not None
            if wrong:
                print(f"FAIL {folder.name}: {wrong}", flush=True)
            elif not options.keep:
                shutil.rmtree(folder)
    print(f"{checked} checked, {failures} differ, {refused} not by the reference")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
