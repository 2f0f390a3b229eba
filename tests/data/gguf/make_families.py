#!/usr/bin/env python3
"""Makes the GGUF files of other architectures, as llama.cpp's conversion writes them.

    make_families.py LLAMA_CPP FOLDER [NAME ...]

LLAMA_CPP is a checkout of llama.cpp, whose conversion package does the work; it
also needs torch and transformers. Each file is a tiny model with random weights,
without a real vocabulary. FOLDER/expected.safetensors gets for each the ids of a
text and the logits that transformers computes from the same weights (NAME.ids,
NAME.logits), so that names, permutations and metadata are proven together.
"""

import json
import logging
import pathlib
import sys
import tempfile
import types
import zlib

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

TOKENS = 28
SMALL = dict(
    vocab_size=48,
    hidden_size=32,
    intermediate_size=40,
    num_hidden_layers=1,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)
YARN = dict(
    rope_type="yarn",
    rope_theta=10000.0,
    factor=4.0,
    original_max_position_embeddings=16,
    beta_fast=32.0,
    beta_slow=1.0,
)
LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=20000.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=16,
)
GEMMA = dict(head_dim=8, intermediate_size=32, sliding_window=8)
EXPERTS = dict(moe_intermediate_size=16, num_experts_per_tok=2)
GPT2 = dict(vocab_size=48, n_embd=32, n_layer=1, n_head=4, n_positions=40, bos_token_id=1, eos_token_id=2)

# architecture: (model_type, changes to SMALL, fields that the conversion expects
# beside those of the config)
FAMILIES = {
    "apertus": ("apertus", dict(rope_parameters=LLAMA3)),
    "arcee": ("arcee", dict(rope_parameters=YARN)),
    "chatglm": ("glm", dict(head_dim=8, rms_norm_eps=1e-5)),
    "cohere2": ("cohere2", dict(num_hidden_layers=4, sliding_window=8, logit_scale=0.25), dict(rotary_pct=1.0)),
    "command-r": ("cohere", dict(use_qk_norm=True, logit_scale=0.25)),
    "ernie4_5": ("ernie4_5", dict(head_dim=8)),
    "exaone4": ("exaone4", dict(num_hidden_layers=4, sliding_window=8)),
    "gemma3n": (
        "gemma3n_text",
        dict(
            GEMMA,
            num_hidden_layers=5,
            vocab_size_per_layer_input=48,
            hidden_size_per_layer_input=8,
            num_kv_shared_layers=2,
            laurel_rank=4,
            activation_sparsity_pattern=[0.95, 0.95, 0.0, 0.0, 0.0],
            layer_types=["sliding_attention", "full_attention", "sliding_attention", "sliding_attention", "full_attention"],
        ),
    ),
    "gemma4": (
        "gemma4_text",
        dict(
            GEMMA,
            num_hidden_layers=4,
            global_head_dim=16,
            num_kv_shared_layers=2,
            use_double_wide_mlp=True,
            hidden_size_per_layer_input=8,
            vocab_size_per_layer_input=48,
            layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
        ),
    ),
    "glm4": ("glm4", dict(head_dim=8)),
    "gpt2": ("gpt2", GPT2, dict(n_ctx=40)),
    "gptneox": (
        "gpt_neox",
        dict(num_key_value_heads=..., rope_parameters=dict(rope_type="default", partial_rotary_factor=0.5)),
        dict(rotary_pct=0.5),
    ),
    "hunyuan-dense": (
        "hunyuan_v1_dense",
        dict(
            head_dim=8,
            max_position_embeddings=32768,
            rope_parameters=dict(rope_type="dynamic", rope_theta=10000.0, alpha=50.0, factor=1.0),
        ),
    ),
    "mistral3": (
        "ministral3",
        dict(
            head_dim=8,
            rope_parameters=dict(**YARN, mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.3),
        ),
    ),
    "nemotron": ("nemotron", dict(head_dim=8, partial_rotary_factor=0.5)),
    "olmo": ("olmo", dict(clip_qkv=0.5)),
    "olmo2": (
        "olmo3",
        dict(
            num_hidden_layers=4,
            sliding_window=8,
            rope_parameters=dict(
                full_attention=YARN,
                sliding_attention=dict(rope_type="default", rope_theta=10000.0),
            ),
        ),
    ),
    "phi2": ("phi", dict(num_key_value_heads=4, intermediate_size=128, partial_rotary_factor=0.5)),
    "seed_oss": ("seed_oss", dict(head_dim=16)),
    "stablelm": ("stablelm", dict(num_key_value_heads=4, use_qkv_bias=True, partial_rotary_factor=0.5)),
    "starcoder2": ("starcoder2", dict()),
    "bitnet": ("bitnet", dict(tie_word_embeddings=True, hidden_act="silu")),
    "dots1": ("dots1", dict(**EXPERTS, n_routed_experts=4, n_shared_experts=1, first_k_dense_replace=1, num_hidden_layers=2, head_dim=8, n_group=1, topk_group=1)),
    "ernie4_5-moe": (
        "ernie4_5_moe",
        dict(**EXPERTS, intermediate_size=32, moe_num_experts=4, moe_k=2, moe_num_shared_experts=1, moe_layer_start_index=1, num_hidden_layers=2),
    ),
    "gemma4-experts": (
        "gemma4_text",
        dict(
            **GEMMA,
            **EXPERTS,
            num_hidden_layers=2,
            global_head_dim=16,
            num_experts=4,
            top_k_experts=2,
            enable_moe_block=True,
            hidden_size_per_layer_input=0,
            layer_types=["sliding_attention", "full_attention"],
        ),
    ),
    "lfm2moe": (
        "lfm2_moe",
        dict(**EXPERTS, num_experts=4, num_dense_layers=1, num_hidden_layers=3, layer_types=["conv", "full_attention", "conv"]),
    ),
    "minimax-m2": (
        "minimax_m2",
        dict(
            **EXPERTS,
            num_local_experts=4,
            head_dim=8,
            rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5),
        ),
        dict(rotary_dim=4),
    ),
    "olmoe": ("olmoe", dict(**EXPERTS, num_experts=4)),
    "phimoe": (
        "phimoe",
        dict(
            **EXPERTS,
            num_local_experts=4,
            rope_parameters=dict(rope_type="default", rope_theta=10000.0, original_max_position_embeddings=64),
        ),
        dict(architectures=["PhiMoEForCausalLM"]),
    ),
    "qwen2moe": (
        "qwen2_moe",
        dict(**EXPERTS, num_experts=4, shared_expert_intermediate_size=32),
    ),
    "qwen3moe": ("qwen3_moe", dict(**EXPERTS, num_experts=4, head_dim=8, norm_topk_prob=True)),
}


def convert(llama_cpp, folder, out, beside):
    """Runs llama.cpp's conversion, with numbered tokens for a vocabulary."""
    sys.path[:0] = [str(llama_cpp), str(llama_cpp / "gguf-py")]
    import gguf
    from conversion import get_model_class
    from conversion.base import ModelBase, ModelType, get_model_architecture

    def write_numbers(self):
        count = self.hparams["vocab_size"]
        self.gguf_writer.add_tokenizer_model("gpt2")
        self.gguf_writer.add_tokenizer_pre("default")
        self.gguf_writer.add_token_list([f"t{i}" for i in range(count)])
        self.gguf_writer.add_token_types([1] * count)

    config = {**ModelBase.load_hparams(folder, False), **beside}
    kind = get_model_class(get_model_architecture(config, ModelType.TEXT))
    with torch.inference_mode():
        model = kind(folder, gguf.LlamaFileType.MOSTLY_F16, out)
        model = getattr(model, "impl", model)
        model.hparams.update(beside)
        model.set_vocab = types.MethodType(write_numbers, model)
        model.write()


def random_model(kind, fields, seed):
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **fields), attn_implementation="eager")
    with torch.no_grad():
        for name, weight in model.float().named_parameters():
            if weight.dim() >= 2 and "norm" not in name:
                weight.normal_(0, 0.12)
            else:
                weight.add_(torch.randn_like(weight) * 0.1)
    return model


def as_the_first_bitnet(folder, model):
    """The conversion knows the names of the first model of that kind, and rounds
    its matrices to three values, which the reference must compute with."""
    file = folder / "model.safetensors"
    names = {"ffn_sub_norm": "ffn_layernorm", "attn_sub_norm": "inner_attn_ln"}
    tensors = {}
    for name, value in load_file(file).items():
        for new, old in names.items():
            name = name.replace(new, old)
        tensors[name] = value
    save_file(tensors, file)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "_proj.weight" in name:
                inverse = 1 / weight.abs().mean().clamp(min=1e-5)
                weight.copy_(((weight * inverse).round().clamp(-1, 1) / inverse).half().float())


def make(llama_cpp, out, name, kind, changes, beside=None):
    base = {} if kind == "gpt2" else SMALL
    fields = {key: value for key, value in {**base, **changes}.items() if value is not ...}
    seed = zlib.crc32(name.encode()) % 100000
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        random_model(kind, fields, seed).half().save_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        if kind == "bitnet":
            as_the_first_bitnet(folder, model)
        draw = torch.Generator().manual_seed(seed)
        ids = torch.randint(3, fields["vocab_size"], (1, TOKENS), generator=draw)
        with torch.no_grad():
            logits = model(ids, use_cache=False).logits[0].float()
        assert torch.isfinite(logits).all()
        # Some conversions count the tokens there.
        numbers = {f"t{i}": i for i in range(fields["vocab_size"])}
        (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": numbers}, "added_tokens": []}))
        convert(llama_cpp, folder, out / f"{name}.gguf", beside or {})
    return {f"{name}.ids": ids[0].int(), f"{name}.logits": logits.contiguous()}


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    llama_cpp, out, wanted = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
    expected = out / "expected.safetensors"
    arrays = load_file(expected) if expected.exists() else {}
    for name in wanted or FAMILIES:
        arrays.update(make(llama_cpp, out, name, *FAMILIES[name]))
        print("made", name)
    save_file(arrays, expected)


if __name__ == "__main__":
    main()
