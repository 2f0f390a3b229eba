"""Prefill and decode speed of mlx-lm on a llama-family GGUF file, through MLX's
own CPU ops. Prints one JSON object. Run it with a Python that has mlx-lm.

    python bench/mlx_lm_case.py MODEL.gguf --prefill 64 --decode 16
"""

import argparse
import json
import statistics
import time

import mlx.core as mx
from mlx.utils import tree_unflatten
from mlx_lm.models import llama
from mlx_lm.models.cache import make_prompt_cache

# GGUF name part -> mlx-lm module path.
NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
TOP = {"token_embd": "embed_tokens", "output_norm": "norm"}


def module_name(name):
    part, _, kind = name.rpartition(".")
    if part in TOP:
        return f"model.{TOP[part]}.{kind}"
    _, layer, module = part.split(".")
    return f"model.layers.{layer}.{NAMES[module]}.{kind}"


def load(path):
    weights, meta = mx.load(path, return_metadata=True)
    number = lambda key: meta["llama." + key].item()
    args = llama.ModelArgs(
        model_type="llama",
        hidden_size=int(number("embedding_length")),
        num_hidden_layers=int(number("block_count")),
        intermediate_size=int(number("feed_forward_length")),
        num_attention_heads=int(number("attention.head_count")),
        num_key_value_heads=int(number("attention.head_count_kv")),
        rms_norm_eps=number("attention.layer_norm_rms_epsilon"),
        rope_theta=number("rope.freq_base"),
        vocab_size=int(number("vocab_size")),
        rope_traditional=True,
        tie_word_embeddings="output.weight" not in weights,
    )
    model = llama.Model(args)
    import mlx.nn as nn

    def bits(path, module):
        name = path + ".scales"
        if name not in renamed or not hasattr(module, "to_quantized"):
            return False
        per_word = renamed[path + ".weight"].shape[-1]
        width = renamed[name].shape[-1] * 32
        return {"group_size": 32, "bits": per_word * 32 // width}

    renamed = {module_name(k): v for k, v in weights.items()}
    nn.quantize(model, class_predicate=bits)
    model.update(tree_unflatten(list(renamed.items())))
    mx.eval(model.parameters())
    return model, args


def timed(model, args, prefill, decode):
    cache = make_prompt_cache(model)
    prompt = mx.random.randint(0, args.vocab_size, (1, prefill))
    start = time.perf_counter()
    logits = model(prompt, cache=cache)[:, -1, :]
    mx.eval(logits)
    middle = time.perf_counter()
    token = mx.argmax(logits, axis=-1)
    for _ in range(decode):
        logits = model(token[:, None], cache=cache)[:, -1, :]
        token = mx.argmax(logits, axis=-1)
        mx.eval(token)
    end = time.perf_counter()
    return prefill / (middle - start), decode / (end - middle)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--prefill", type=int, default=64)
    parser.add_argument("--decode", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    mx.set_default_device(mx.cpu)
    model, args = load(options.model)
    timed(model, args, 8, 1)
    samples = [
        timed(model, args, options.prefill, options.decode)
        for _ in range(options.rounds)
    ]
    print(
        json.dumps(
            {
                "prefill_tokens_per_second": statistics.median(s[0] for s in samples),
                "decode_tokens_per_second": statistics.median(s[1] for s in samples),
            }
        )
    )


if __name__ == "__main__":
    main()
