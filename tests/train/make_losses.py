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
MIXTURES = ["mixtral", "qwen3_moe"]  # adapters of the attention alone
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


def start_adapter(model):
    """Draws the a matrices as the trainer does, in its order."""
    state = SEED
    modules = dict(model.named_modules())
    for target in ("q_proj", "k_proj", "v_proj", "o_proj"):
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
    if method != "full":
        config = LoraConfig(
            r=RANK,
            lora_alpha=ALPHA,
            lora_dropout=0.0,
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
            task_type="CAUSAL_LM",
            use_dora=method == "dora",
        )
        model = get_peft_model(model, config)
        start_adapter(model)
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
        "losses": {
            method: {
                name: losses(name, method)
                for name in NAMES + (MIXTURES if method == "lora" else [])
            }
            for method in RATES
        },
    }
    text = json.dumps(recorded, indent=1)
    (HERE / "losses.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
