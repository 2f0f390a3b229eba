#!/usr/bin/env python3
"""Makes losses.json: the losses of 20 steps of training on the goldens'
checkpoints, as PyTorch and peft give them in float32. Needs torch,
transformers and peft; the tests read only the file.

    python3 tests/train/make_losses.py
"""

import json
from pathlib import Path

import numpy
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

HERE = Path(__file__).resolve().parent
GOLDENS = HERE.parent / "goldens"
NAMES = ["llama", "qwen2", "gemma2", "granite", "smollm3"]
HEADS = ["q_proj", "k_proj", "v_proj", "o_proj"]
LATENT = ["kv_a_proj_with_mqa", "kv_b_proj", "o_proj"]
# Adapters of the attention alone, and which of its matrices.
MIXTURES = {
    "mixtral": HEADS,
    "qwen3_moe": HEADS,
    "gpt_oss": HEADS,
    "deepseek_v2": ["q_proj", *LATENT],
    "deepseek_v3": ["q_a_proj", "q_b_proj", *LATENT],
}
STEPS = 20
RANK, ALPHA, SEED = 4, 8.0, 7
RATES = {"lora": 1e-2, "dora": 1e-2, "full": 1e-3}
WEIGHT_DECAY = 0.01
CLIP = 1.0
MASK = (1 << 64) - 1


def splitmix(state):
    """The next state and word of the generator that the trainer uses."""
    state = (state + 0x9E3779B97F4A7C15) & MASK
    x = state
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return state, x ^ (x >> 31)


def start_adapter(model, targets):
    """Draws the a matrices as the trainer does, in its order."""
    state = SEED
    modules = dict(model.named_modules())
    for target in targets:
        for name in sorted(n for n in modules if n.endswith(target)):
            a = modules[name].lora_A["default"].weight
            bound = numpy.float32(1) / numpy.sqrt(numpy.float32(a.shape[1]))
            values = numpy.empty(a.numel(), dtype=numpy.float32)
            for i in range(values.size):
                state, word = splitmix(state)
                uniform = numpy.float32((word >> 11) * 2.0**-52 - 1.0)
                values[i] = bound * uniform
            a.data.copy_(torch.from_numpy(values).reshape(a.shape))


def losses(name, method):
    folder = GOLDENS / name
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    targets = MIXTURES.get(name, HEADS)
    if method != "full":
        config = LoraConfig(
            r=RANK,
            lora_alpha=ALPHA,
            lora_dropout=0.0,
            target_modules=targets,
            task_type="CAUSAL_LM",
            use_dora=method == "dora",
        )
        model = get_peft_model(model, config)
        start_adapter(model, targets)
    model.train()
    ids = load_file(folder / "golden.safetensors")["input_ids"].long()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=RATES[method], weight_decay=WEIGHT_DECAY
    )
    out = []
    for _ in range(STEPS):
        logits = model(input_ids=ids).logits
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, CLIP)
        optimizer.step()
        out.append(round(loss.item(), 6))
    return out


def mixtures(method):
    """All with LoRA; what is folded into other matrices with DoRA too."""
    return {"lora": list(MIXTURES), "dora": ["deepseek_v3"], "full": []}[method]


def main():
    torch.set_num_threads(1)
    recorded = {
        "steps": STEPS,
        "rank": RANK,
        "alpha": ALPHA,
        "seed": SEED,
        "weight_decay": WEIGHT_DECAY,
        "clip": CLIP,
        "learning_rate": RATES,
        "targets": MIXTURES,
        "losses": {
            method: {
                name: losses(name, method)
                for name in NAMES + mixtures(method)
            }
            for method in RATES
        },
    }
    text = json.dumps(recorded, indent=1)
    (HERE / "losses.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
