#!/usr/bin/env python3
"""Every field of every golden's config.json, changed: what changes the result must
be understood or refused, never ignored.

    config_sweep.py FOLDER [--goldens a,b] [--absent] [--roofline build/release/roofline]

needs torch and transformers; run by hand. Each flag is flipped, each number and word
replaced, and fields of other families are added, one at a time. Where Roofline
computes logits, the reference must give the same from the same folder. With --absent
fields are taken out and set to null instead, which tells what their absence means.
"""

import argparse
import copy
import json
import pathlib
import shutil
import sys

import torch
from family_sweep import ROOT, compare, ours
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

GOLDENS = ROOT / "tests/goldens"
# Read by nobody, or by loaders and generation only.
NOTES = {
    "architectures", "dtype", "torch_dtype", "transformers_version", "bos_token_id", "eos_token_id", "pad_token_id",
    "initializer_range", "use_cache", "model_type", "vocab_size", "output_router_logits", "router_aux_loss_coef",
    "attention_dropout", "image_token_id", "num_logits_to_keep",
    # Scales weights when they are initialized. transformers 5.24 does so to mamba2's
    # loaded weights too (nemotron_h's are spared); the original program doesn't.
    "rescale_prenorm_residual",
}  # fmt: skip
ADDED = {
    "attention_bias": True, "mlp_bias": True, "use_bias": True, "qkv_bias": True, "use_qk_norm": True, "qk_layernorm": True,
    "sliding_window": 5, "use_sliding_window": True, "attn_logit_softcapping": 1.0, "final_logit_softcapping": 1.0,
    "logits_scaling": 2.0, "embedding_multiplier": 2.0, "residual_multiplier": 0.5, "attention_multiplier": 0.5,
    "logit_scale": 0.5, "partial_rotary_factor": 0.5, "rope_scaling": {"type": "foo", "factor": 2.0}, "clip_qkv": 0.1,
    "scale_depth": 1.4, "no_rope_layer_interval": 2, "alibi": True, "query_pre_attn_scalar": 100,
    "attention_chunk_size": 8, "attn_temperature_tuning": True, "use_rope": False, "norm_type": "layer_norm",
    "layer_norm_eps": 0.1, "rms_norm_eps": 0.1, "activation": "relu", "hidden_activation": "relu", "hidden_act": "relu6",
    "layer_types": ["foo"], "quantization_config": {"quant_method": "foo"}, "use_parallel_residual": True,
    "head_dim": 4, "num_key_value_heads": 1, "rope_theta": 77.0, "norm_topk_prob": False, "routed_scaling_factor": 3.0,
}  # fmt: skip


def other_values(name, value):
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int) and "size" not in name:
        return [value + 1]
    if isinstance(value, float):
        return [value * 2 + 0.25]
    if isinstance(value, str):
        return ["foo"]
    if isinstance(value, list) and value and isinstance(value[0], str):
        return [["foo", *value[1:]]]
    return []


def changes(config):
    for name, value in config.items():
        if name in NOTES:
            continue
        for other in other_values(name, value):
            yield f"{name} = {other}", {**config, name: other}
        if isinstance(value, dict):
            for inner, old in value.items():
                for other in other_values(inner, old):
                    changed = copy.deepcopy(config)
                    changed[name][inner] = other
                    yield f"{name}.{inner} = {other}", changed
    for name, value in ADDED.items():
        if config.get(name) != value:
            yield f"+ {name} = {value}", {**config, name: value}


def absences(config):
    for name in config:
        if name in NOTES:
            continue
        yield f"without {name}", {key: value for key, value in config.items() if key != name}
        if config[name] is not None:
            yield f"{name} = null", {**config, name: None}


@torch.no_grad()
def theirs(folder, ids):
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        return model(ids, use_cache=False).logits.float()
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:80]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--goldens")
    parser.add_argument("--absent", action="store_true")
    parser.add_argument("--roofline", default=ROOT / "build/release/roofline")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = sorted(p.parent.name for p in GOLDENS.glob("*/golden.safetensors"))
    names = options.goldens.split(",") if options.goldens else found
    checked = refused = differ = 0
    for name in names:
        folder = options.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(GOLDENS / name, folder)
        ids = load_file(folder / "golden.safetensors")["input_ids"].long()
        config = json.loads((folder / "config.json").read_text())
        if isinstance(theirs(folder, ids), str):
            continue
        for what, changed in (absences if options.absent else changes)(config):
            (folder / "config.json").write_text(json.dumps(changed))
            mine = ours(options.roofline, folder, ids)
            checked += 1
            if isinstance(mine, str):
                refused += 1
                if not mine.startswith("roofline: "):
                    differ += 1
                    print(f"FAIL {name}: {what}: {mine[:200]}", flush=True)
                continue
            other = theirs(folder, ids)
            if options.absent and isinstance(other, str):
                continue  # the reference is the stricter one
            wrong = other if isinstance(other, str) else compare(other, mine)
            if wrong:
                differ += 1
                print(f"FAIL {name}: {what}: {wrong}", flush=True)
        shutil.rmtree(folder)
    print(f"{checked} changes, {refused} refused, {differ} differ")
    sys.exit(differ > 0)


if __name__ == "__main__":
    main()
