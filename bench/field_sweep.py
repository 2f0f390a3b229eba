#!/usr/bin/env python3
"""Every field that transformers' configuration classes know, of every family, at a
value that isn't its default: new random weights that fit the changed config, so that
fields which change shapes are tried as well.

    field_sweep.py FOLDER [--families a,b] [--seed 0] [--roofline build/release/roofline]

needs torch and transformers; run by hand. What the reference can't run is skipped;
elsewhere Roofline's logits must be the reference's, or it must refuse.
"""

import argparse
import json
import pathlib
import shutil
import sys

import torch
from family_sweep import FAMILIES, ROOT, Draw, compare, ours, random_model
from transformers import AutoConfig, AutoModelForCausalLM

# Of files, training, generation; or drawn by family_sweep for what they are.
NOTES = {
    "architectures", "dtype", "torch_dtype", "transformers_version", "bos_token_id", "eos_token_id", "pad_token_id",
    "initializer_range", "use_cache", "model_type", "output_router_logits", "router_aux_loss_coef", "return_dict",
    "attention_dropout", "num_logits_to_keep", "output_hidden_states", "output_attentions", "chunk_size_feed_forward",
    "is_encoder_decoder", "id2label", "label2id", "problem_type", "_name_or_path", "tokenizer_class", "num_labels",
    "rope_parameters", "rescale_prenorm_residual", "base_model_tp_plan", "base_model_pp_plan", "base_model_ep_plan",
    "ignore_keys_at_rope_validation", "transformers_weights",
}  # fmt: skip
WORDS = {
    "hidden_act": ["gelu", "relu", "quick_gelu", "mish", "hardswish"],
    "hidden_activation": ["gelu", "relu", "silu"],
    "activation_function": ["relu", "quick_gelu"],
    "mlp_hidden_act": ["silu", "gelu"],
}


def other_values(name, value):
    if name in WORDS:
        return WORDS[name]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value * 2] if value else [1, 2]
    if isinstance(value, float):
        return [value * 2 + 0.25]
    if isinstance(value, str):
        return []
    if value is None:
        return [True, 2, 0.5]
    return []


def changes(kind, fields):
    full = AutoConfig.for_model(kind, **fields).to_dict()
    known = {**AutoConfig.for_model(kind).to_dict(), **full}
    for name in sorted(known):
        if name in NOTES or name.startswith("_"):
            continue
        for other in other_values(name, full.get(name)):
            yield f"{name} = {other}", {**fields, name: other}


def drawn(kind, seed):
    """The first draw that the family's configuration takes."""
    while True:
        fields = FAMILIES[kind](Draw(f"{kind}-{seed}"))
        try:
            AutoConfig.for_model(kind, **fields)
            return fields
        except Exception:
            seed += 1000


@torch.no_grad()
def theirs(folder, ids):
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager"
    ).eval()
    return model(ids, use_cache=False).logits.float()


def try_one(options, kind, fields, folder):
    """(status, words)"""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        random_model(kind, fields, options.seed).save_pretrained(folder)
        vocab = min(fields["vocab_size"], 96)
        ids = torch.randint(3, vocab, (2, 40), generator=torch.Generator().manual_seed(1))
        other = theirs(folder, ids)
    except Exception as error:
        return "no reference", f"{type(error).__name__}: {str(error)[:80]}"
    if not torch.isfinite(other).all() or other.std() < 1e-4:
        return "no reference", "not finite"
    (folder / "generation_config.json").unlink(missing_ok=True)
    mine = ours(options.roofline, folder, ids)
    if isinstance(mine, str):
        return "refused" if mine.startswith("roofline: ") else "FAIL", " ".join(mine.split())[:260]
    wrong = compare(other, mine)
    return ("FAIL", wrong) if wrong else ("same", "")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--roofline", default=ROOT / "build/release/roofline")
    options = parser.parse_args()
    torch.set_num_threads(1)
    counts: dict = {}
    for kind in options.families.split(","):
        fields = drawn(kind, options.seed)
        for what, changed in [("as drawn", fields), *changes(kind, fields)]:
            folder = options.folder / kind
            status, words = try_one(options, kind, changed, folder)
            counts[status] = counts.get(status, 0) + 1
            if status in ("FAIL", "refused"):
                print(f"{status} {kind}: {what}: {words}", flush=True)
            if status == "FAIL":
                (folder / "changed.json").write_text(json.dumps(changed))
                folder.rename(options.folder / f"{kind}-{counts[status]}")
        shutil.rmtree(options.folder / kind, ignore_errors=True)
    print(counts)
    sys.exit(counts.get("FAIL", 0) > 0)


if __name__ == "__main__":
    main()
