#!/usr/bin/env python3
"""Makes objectives.json: the losses of 12 LoRA steps on the llama golden under
DPO, ORPO and distillation, from their papers' formulas in PyTorch, float32.
Needs torch, transformers and peft; the tests read only the file.

    python3 tests/train/make_objectives.py
"""

import json

import torch
from make_losses import (
    ALPHA, CLIP, GOLDENS, HEADS, HERE, RANK, RATES, WEIGHT_DECAY, start_adapter,
)  # fmt: skip
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoModelForCausalLM

STEPS = 12
DPO_BETA, ORPO_LAMBDA = 0.005, 0.3
TEMPERATURE, SHARE = 2.0, 0.6
TEACHER = "llama_bias_tied"


def load(name):
    return AutoModelForCausalLM.from_pretrained(
        GOLDENS / name, dtype=torch.float32, attn_implementation="eager"
    )


def log_probabilities(model, ids):
    """Of each token but the first: [tokens − 1]."""
    logits = model(input_ids=ids[None]).logits[0, :-1]
    return functional.log_softmax(logits, -1).gather(1, ids[1:, None])[:, 0]


def dpo(model, ids):
    with torch.no_grad(), model.disable_adapter():
        reference = [log_probabilities(model, each).sum() for each in ids]
    chosen, rejected = (log_probabilities(model, each).sum() for each in ids)
    z = DPO_BETA * ((chosen - reference[0]) - (rejected - reference[1]))
    return -functional.logsigmoid(z)


def orpo(model, ids):
    means = [log_probabilities(model, each).mean() for each in ids]
    odds = [mean - torch.log1p(-torch.exp(mean)) for mean in means]
    return -means[0] - ORPO_LAMBDA * functional.logsigmoid(odds[0] - odds[1])


def distillation(model, ids):
    with torch.no_grad():
        wanted = distillation.teacher(input_ids=ids).logits[:, :-1] / TEMPERATURE
    logits = model(input_ids=ids).logits[:, :-1]
    entropy = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    divergence = functional.kl_div(
        functional.log_softmax(logits / TEMPERATURE, -1).flatten(0, 1),
        functional.log_softmax(wanted, -1).flatten(0, 1),
        log_target=True, reduction="batchmean",
    )  # fmt: skip
    return (1 - SHARE) * entropy + SHARE * TEMPERATURE**2 * divergence


def losses(objective):
    config = LoraConfig(
        r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=HEADS,
        task_type="CAUSAL_LM",
    )  # fmt: skip
    model = get_peft_model(load("llama"), config)
    start_adapter(model, HEADS)
    model.train()
    ids = load_file(GOLDENS / "llama" / "golden.safetensors")["input_ids"].long()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATES["lora"], weight_decay=WEIGHT_DECAY)
    out = []
    for _ in range(STEPS):
        loss = objective(model, ids)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, CLIP)
        optimizer.step()
        out.append(round(loss.item(), 6))
    return out


def main():
    torch.set_num_threads(1)
    distillation.teacher = load(TEACHER)
    recorded = {
        "steps": STEPS,
        "beta": {"dpo": DPO_BETA, "orpo": ORPO_LAMBDA, "cross_entropy": 0.1},
        "temperature": TEMPERATURE,
        "share": SHARE,
        "teacher": TEACHER,
        "losses": {
            "dpo": losses(dpo),
            "orpo": losses(orpo),
            "cross_entropy": losses(distillation),
        },
    }
    text = json.dumps(recorded, indent=1)
    (HERE / "objectives.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
