#!/usr/bin/env python3
"""Makes adapter_golden/: an adapter in PEFT's form for the llama golden, and
the logits that PyTorch and peft give with it in float32. Needs torch,
transformers and peft; the tests read only the files.

    python3 tests/train/make_adapter_golden.py
"""

import shutil
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

HERE = Path(__file__).resolve().parent
LLAMA = HERE.parent / "goldens" / "llama"
OUT = HERE / "adapter_golden"
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TOKENS = 12
SIZE = 0.15  # of the adapter's values: it must change the logits visibly


def main():
    torch.set_num_threads(1)
    torch.manual_seed(5)
    model = AutoModelForCausalLM.from_pretrained(
        LLAMA, dtype=torch.float32, attn_implementation="eager"
    )
    ids = load_file(LLAMA / "golden.safetensors")["input_ids"][:1, :TOKENS].long()
    with torch.no_grad():
        before = model(input_ids=ids).logits
    config = LoraConfig(
        r=2, lora_alpha=4, target_modules=TARGETS, task_type="CAUSAL_LM",
        base_model_name_or_path="llama",
    )
    model = get_peft_model(model, config)
    for name, value in model.named_parameters():
        if "lora_" in name:
            value.data.copy_(SIZE * torch.randn(value.shape))
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=ids).logits
    assert (logits - before).abs().max() > 0.2 * logits.abs().max()
    shutil.rmtree(OUT, ignore_errors=True)
    model.peft_config["default"].base_model_name_or_path = "llama"
    model.save_pretrained(OUT)
    (OUT / "README.md").unlink(missing_ok=True)
    save_file(
        {"input_ids": ids.to(torch.int32), "logits": logits[0].contiguous()},
        OUT / "golden.safetensors",
    )


if __name__ == "__main__":
    main()
