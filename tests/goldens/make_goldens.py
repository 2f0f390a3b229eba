#!/usr/bin/env python3
"""Makes the goldens of options that the plain ones leave untouched.

    make_goldens.py FOLDER [NAME ...]

needs torch and transformers. Each golden is a tiny model with random weights,
stored in bf16, and what the reference implementation computes from the stored
weights in float32: logits of two sequences, and a greedy continuation.
A variant may rewrite its folder (to an older style of config.json, say); the
reference then reads the rewritten folder, so both must agree on its meaning.
"""

import json
import pathlib
import shutil
import sys
import zlib

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

TOKENS = 40
PROMPT = 12
CONTINUED = 24

SMALL = dict(
    vocab_size=256,
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)
# For families beyond the first ones: about 100 kB each.
TINY = dict(
    vocab_size=160,
    hidden_size=48,
    intermediate_size=72,
    num_hidden_layers=2,
    max_position_embeddings=128,
)
LLAMA3_ROPE = dict(
    rope_type="llama3",
    rope_theta=20000.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=24,
)
YARN_ROPE = dict(
    rope_type="yarn",
    rope_theta=10000.0,
    factor=4.0,
    original_max_position_embeddings=16,
    beta_fast=32.0,
    beta_slow=1.0,
)
SLIDING_THEN_FULL = ["sliding_attention", "sliding_attention", "full_attention"]


def tiny(**changes):
    """TINY with changes; what is set to ... isn't there at all."""
    return {**TINY, **changes}


def rope(theta=10000.0, **more):
    return dict(rope_type="default", rope_theta=theta, **more)


GEMMA3 = dict(
    head_dim=24,
    intermediate_size=96,
    num_hidden_layers=4,
    sliding_window=8,
    query_pre_attn_scalar=24,
    layer_types=["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
    rope_parameters={
        "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0},
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 200000.0},
    },
)


GEMMA3N = dict(
    vocab_size=160,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=7,
    head_dim=8,
    sliding_window=8,
    max_position_embeddings=128,
    vocab_size_per_layer_input=120,
    hidden_size_per_layer_input=8,
    num_kv_shared_layers=2,
    laurel_rank=4,
)
GEMMA4 = dict(
    vocab_size=160,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=4,
    head_dim=8,
    global_head_dim=16,
    sliding_window=8,
    max_position_embeddings=128,
    vocab_size_per_layer_input=160,
)


def edit_config(folder, edit):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config = edit(config) or config
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def to_old_llama(folder):
    """As Llama 3.1's config was written: the scaling beside rope_theta."""

    def edit(config):
        rope = config.pop("rope_parameters")
        config["rope_theta"] = rope.pop("rope_theta")
        config["rope_scaling"] = {**rope, "type": rope["rope_type"]}
        config["torch_dtype"] = config.pop("dtype")
        del config["head_dim"], config["num_key_value_heads"], config["mlp_bias"]

    edit_config(folder, edit)


def to_old_rope(folder):
    """The scaling beside rope_theta, under the names that the family had."""

    def edit(config):
        rope = config.pop("rope_parameters")
        neox = config["model_type"] == "gpt_neox"
        config["rotary_emb_base" if neox else "rope_theta"] = rope.pop("rope_theta")
        partial = rope.pop("partial_rotary_factor", None)
        if partial is not None:
            config["rotary_pct" if neox else "partial_rotary_factor"] = partial
        kind = rope.pop("rope_type")
        config["rope_scaling"] = None if kind == "default" else {"type": kind, **rope}
        config["torch_dtype"] = config.pop("dtype")

    edit_config(folder, edit)


def to_old_olmo3(folder):
    """No layer_types, and a scaling that is that of the full layers."""

    def edit(config):
        rope = config.pop("rope_parameters")["full_attention"]
        config["rope_theta"] = rope.pop("rope_theta")
        config["rope_scaling"] = rope
        del config["layer_types"]

    edit_config(folder, edit)


def to_old_gemma3(folder):
    """As Gemma 3's config was written: no layer_types, scaling of all."""

    def edit(config):
        rope = config.pop("rope_parameters")
        config["rope_theta"] = rope["full_attention"]["rope_theta"]
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        config["rope_scaling"] = {"factor": 8.0, "rope_type": "linear"}
        config["sliding_window_pattern"] = 3
        del config["layer_types"], config["_sliding_window_pattern"]

    edit_config(folder, edit)


def to_multimodal(folder):
    """A checkpoint whose language model is one part of it, after its oracle."""

    def edit(config):
        text = {k: v for k, v in config.items() if k not in ("architectures", "dtype")}
        return {
            "architectures": ["Gemma3ForConditionalGeneration"],
            "model_type": "gemma3",
            "dtype": "bfloat16",
            "eos_token_id": [2, 5],
            "image_token_index": 255,
            "mm_tokens_per_image": 4,
            "text_config": text,
            "vision_config": {"hidden_size": 8, "model_type": "siglip_vision_model"},
        }

    edit_config(folder, edit)
    path = folder / "model.safetensors"
    tensors = {"language_model." + name: value for name, value in load_file(path).items()}
    tensors["vision_tower.vision_model.post_layernorm.weight"] = torch.ones(8, dtype=torch.bfloat16)
    tensors["multi_modal_projector.mm_soft_emb_norm.weight"] = torch.ones(8, dtype=torch.bfloat16)
    save_file(tensors, path, metadata={"format": "pt"})


def to_multimodal_gemma3n(folder):
    """As Gemma 3n's checkpoints are: a text_config, and parts that aren't used."""

    def edit(config):
        text = {k: v for k, v in config.items() if k not in ("architectures", "dtype")}
        for field in ("rope_parameters", "layer_types"):
            text.pop(field)
        text.update(rope_theta=1000000.0, rope_local_base_freq=10000.0, rope_scaling=None)
        return {
            "architectures": ["Gemma3nForConditionalGeneration"],
            "model_type": "gemma3n",
            "torch_dtype": "bfloat16",
            "audio_config": {"hidden_size": 8, "model_type": "gemma3n_audio"},
            "audio_soft_tokens_per_image": 4,
            "audio_token_id": 150,
            "boa_token_id": 151,
            "eoa_token_id": 152,
            "image_token_id": 153,
            "vision_soft_tokens_per_image": 4,
            "vision_config": {"hidden_size": 8, "model_type": "gemma3n_vision"},
            "text_config": text,
        }

    edit_config(folder, edit)
    path = folder / "model.safetensors"
    tensors = {"model.language_model." + name.removeprefix("model."): value for name, value in load_file(path).items()}
    tensors["model.vision_tower.timm_model.norm.weight"] = torch.ones(8, dtype=torch.bfloat16)
    tensors["model.audio_tower.norm.weight"] = torch.ones(8, dtype=torch.bfloat16)
    tensors["model.embed_vision.embedding.weight"] = torch.ones(8, 8, dtype=torch.bfloat16)
    # Published files have these in layers that share those of another one.
    for name in ("k_proj", "v_proj"):
        other = tensors[f"model.language_model.layers.0.self_attn.{name}.weight"]
        tensors[f"model.language_model.layers.6.self_attn.{name}.weight"] = torch.zeros_like(other)
    save_file(tensors, path, metadata={"format": "pt"})


# name: (model_type, changes to SMALL, rewrite before the oracle, and after it)
VARIANTS = {
    "llama_odd_sizes": (
        "llama",
        dict(
            vocab_size=300,
            hidden_size=96,
            intermediate_size=112,
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=6,
            rms_norm_eps=1e-5,
        ),
    ),
    "llama_rope_dynamic": (
        "llama",
        dict(
            max_position_embeddings=32,
            rope_parameters=dict(rope_type="dynamic", factor=4.0, rope_theta=10000.0),
        ),
    ),
    "llama_rope_longrope": (
        "llama",
        dict(
            rope_parameters=dict(
                rope_type="longrope",
                rope_theta=10000.0,
                factor=16.0,
                original_max_position_embeddings=20,
                short_factor=[1.0 + 0.05 * i for i in range(8)],
                long_factor=[1.0 + 0.75 * i for i in range(8)],
            )
        ),
    ),
    "llama_rope_yarn_mscale": (
        "llama",
        dict(
            head_dim=32,
            num_key_value_heads=1,
            rope_parameters=dict(
                rope_type="yarn",
                rope_theta=50000.0,
                factor=8.0,
                original_max_position_embeddings=24,
                beta_fast=4.0,
                beta_slow=0.5,
                mscale=1.5,
                mscale_all_dim=0.75,
                truncate=False,
            ),
        ),
    ),
    "llama_old_style": (
        "llama",
        dict(
            num_key_value_heads=4,
            rope_parameters=dict(
                rope_type="llama3",
                rope_theta=50000.0,
                factor=8.0,
                low_freq_factor=1.0,
                high_freq_factor=4.0,
                original_max_position_embeddings=64,
            ),
        ),
        to_old_llama,
    ),
    "ministral_window": (
        "ministral",
        dict(
            sliding_window=8,
            head_dim=16,
            rope_parameters=dict(rope_type="default", rope_theta=10000.0),
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        ),
    ),
    "qwen2_window": (
        "qwen2",
        dict(use_sliding_window=True, sliding_window=8, max_window_layers=1, tie_word_embeddings=True),
    ),
    "qwen3_one_kv_head": (
        "qwen3",
        dict(
            vocab_size=300,
            hidden_size=96,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=3,
            num_key_value_heads=1,
            head_dim=48,
            attention_bias=True,
        ),
    ),
    "gemma3_old_style": ("gemma3_text", GEMMA3, to_old_gemma3),
    "gemma3_multimodal": ("gemma3_text", GEMMA3, None, to_multimodal),
    "smollm3_window": (
        "smollm3",
        dict(
            num_hidden_layers=4,
            no_rope_layer_interval=2,
            use_sliding_window=True,
            sliding_window=8,
            attention_bias=True,
            mlp_bias=True,
        ),
    ),
    "phi3_partial": (
        "phi3",
        dict(partial_rotary_factor=0.75, sliding_window=16),
    ),
    "apertus": ("apertus", tiny(rope_parameters=LLAMA3_ROPE)),
    "arcee": ("arcee", tiny(rope_parameters=YARN_ROPE, attention_bias=True), to_old_rope),
    "bitnet": ("bitnet", tiny()),
    "cohere": ("cohere", tiny(use_qk_norm=True, logit_scale=0.25)),
    "cohere_plain": ("cohere", tiny(attention_bias=True, tie_word_embeddings=False), to_old_rope),
    "cohere2": ("cohere2", tiny(num_hidden_layers=3, sliding_window=8, layer_types=SLIDING_THEN_FULL)),
    "ernie4_5": ("ernie4_5", tiny(head_dim=16, use_bias=True)),
    "exaone4": ("exaone4", tiny(num_hidden_layers=3, sliding_window=8, sliding_window_pattern=3)),
    "exaone4_full": (
        "exaone4",
        tiny(sliding_window=None, layer_types=["full_attention"] * 2, rope_parameters=LLAMA3_ROPE),
    ),
    "gemma3n_text": (
        "gemma3n_text",
        dict(
            GEMMA3N,
            num_kv_shared_layers=0,
            num_hidden_layers=3,
            layer_types=SLIDING_THEN_FULL,
            altup_num_inputs=3,
            altup_active_idx=1,
            altup_correct_scale=False,
            activation_sparsity_pattern=[0.95, 0.5, 0.0],
            intermediate_size=[40, 56, 48],
        ),
    ),
    "gemma3n_multimodal": ("gemma3n_text", GEMMA3N, None, to_multimodal_gemma3n),
    "gemma4_text": (
        "gemma4_text",
        dict(
            GEMMA4,
            hidden_size_per_layer_input=8,
            num_kv_shared_layers=2,
            use_double_wide_mlp=True,
            layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
        ),
    ),
    "gemma4_keys_are_values": (
        "gemma4_text",
        dict(
            GEMMA4,
            hidden_size_per_layer_input=0,
            attention_k_eq_v=True,
            num_global_key_value_heads=1,
            layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
            final_logit_softcapping=20.0,
        ),
    ),
    "gemma4_experts": (
        "gemma4_text",
        dict(
            GEMMA4,
            hidden_size_per_layer_input=0,
            num_hidden_layers=3,
            layer_types=SLIDING_THEN_FULL,
            enable_moe_block=True,
            num_experts=6,
            top_k_experts=3,
            moe_intermediate_size=20,
        ),
    ),
    "glm": ("glm", tiny(head_dim=16, partial_rotary_factor=0.5), to_old_rope),
    "glm4": ("glm4", tiny(head_dim=16, attention_bias=False, rope_parameters=rope(partial_rotary_factor=0.25))),
    "gpt2": (
        "gpt2",
        dict(
            vocab_size=160,
            hidden_size=48,
            num_hidden_layers=2,
            num_key_value_heads=...,
            intermediate_size=...,
            max_position_embeddings=64,
            scale_attn_by_inverse_layer_idx=True,
        ),
    ),
    "gpt_neox": (
        "gpt_neox",
        tiny(num_key_value_heads=..., rope_parameters=rope(5000.0, partial_rotary_factor=0.5)),
        to_old_rope,
    ),
    "gpt_neox_serial": (
        "gpt_neox",
        tiny(num_key_value_heads=..., use_parallel_residual=False, attention_bias=False, tie_word_embeddings=True),
    ),
    "gpt_neox_wide": (
        "gpt_neox",
        # As wide as mlx-lm takes for granted.
        dict(
            vocab_size=96,
            hidden_size=32,
            intermediate_size=128,
            num_hidden_layers=2,
            num_key_value_heads=...,
            max_position_embeddings=128,
            tie_word_embeddings=True,
        ),
    ),
    "helium": ("helium", tiny(head_dim=12, attention_bias=True, mlp_bias=True)),
    "hunyuan_v1_dense": (
        "hunyuan_v1_dense",
        tiny(
            head_dim=16,
            rope_parameters=dict(
                rope_type="dynamic",
                rope_theta=10000.0,
                alpha=1000.0,
                factor=1.0,
                beta_fast=32,
                beta_slow=1,
                mscale=1.0,
                mscale_all_dim=1.0,
            ),
        ),
        to_old_rope,
    ),
    "ministral3": (
        "ministral3",
        tiny(
            head_dim=16,
            sliding_window=12,
            rope_parameters=dict(**YARN_ROPE, mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.3),
        ),
    ),
    "nemotron": ("nemotron", tiny(head_dim=16, mlp_bias=True, partial_rotary_factor=0.5), to_old_rope),
    "olmo": ("olmo", tiny(clip_qkv=0.5)),
    "olmo3": (
        "olmo3",
        tiny(
            num_hidden_layers=4,
            hidden_size=32,
            sliding_window=8,
            rope_parameters={"full_attention": YARN_ROPE, "sliding_attention": rope(500000.0)},
        ),
        to_old_olmo3,
    ),
    "phi": ("phi", tiny(partial_rotary_factor=0.5)),
    "phi_qk_norm": ("phi", tiny(hidden_size=64, qk_layernorm=True, partial_rotary_factor=0.25, tie_word_embeddings=True), to_old_rope),
    "seed_oss": ("seed_oss", tiny(head_dim=16, attention_out_bias=True)),
    "stablelm": ("stablelm", tiny(use_qkv_bias=True, num_key_value_heads=4, partial_rotary_factor=0.5)),
    "stablelm_parallel": (
        "stablelm",
        tiny(use_parallel_residual=True, qk_layernorm=True, partial_rotary_factor=0.5),
        to_old_rope,
    ),
    "starcoder2": ("starcoder2", tiny(sliding_window=12)),
}


def random_model(kind, fields, seed):
    torch.manual_seed(seed)
    config = AutoConfig.for_model(kind, **fields)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for name, weight in model.float().named_parameters():
            if weight.dim() >= 2 and "norm" not in name:
                weight.normal_(0, 0.08)
            else:
                weight.add_(torch.randn_like(weight) * (0.1 if "norm" in name else 0.05))
    return model


@torch.no_grad()
def reference(folder, vocab, seed):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, vocab, (2, TOKENS), generator=draw)
    logits = model(ids, use_cache=False).logits.float()
    assert torch.isfinite(logits).all()
    greedy = ids[:1, :PROMPT]
    for _ in range(CONTINUED):
        # A model anew for each length: dynamic rope remembers the longest.
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        following = model(greedy, use_cache=False).logits[:, -1:].argmax(-1)
        greedy = torch.cat([greedy, following], 1)
    return {"input_ids": ids.int(), "logits": logits.contiguous(), "greedy": greedy.int()}


def make(root, name, kind, changes, before=None, after=None):
    fields = {key: value for key, value in {**SMALL, **changes}.items() if value is not ...}
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
