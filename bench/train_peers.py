#!/usr/bin/env python3
"""LoRA on a CPU, side by side: roofline, PyTorch + peft in float32 and under
bfloat16 autocast, mlx-lm's path on MLX's CPU backend. SmolLM2-135M's shapes,
rank 8 on q, k, v and o, batch 4 x 512, AdamW; the rounds are interleaved, so that
a busy machine is busy for all.

    bench/train_peers.py --python PYTHON [--rounds 3] [--steps 2] [--threads 2]
                         [--batch 4] [--tokens 512]

PYTHON has torch, transformers, peft and mlx-lm. The peers train random weights
(speed doesn't depend on them), roofline the bundled model; each round is a
process of its own. Prints tokens a second and peak memory.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1]
BINARY = os.environ.get("ROOFLINE_BINARY", str(SOURCE / "build/release/roofline"))
RANK = 8
CONFIG = {
    "model_type": "llama",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
    "rms_norm_eps": 1e-5,
    "rope_theta": 100000.0,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}


def torch_case(autocast, given):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(given.threads)
    config = {k: v for k, v in CONFIG.items() if k != "model_type"}
    model = LlamaForCausalLM(LlamaConfig(**config))
    targets = ["q_proj", "k_proj", "v_proj", "o_proj"]
    lora = LoraConfig(
        r=RANK, lora_alpha=16, target_modules=targets, task_type="CAUSAL_LM"
    )
    model = get_peft_model(model, lora)
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=1e-4
    )
    ids = torch.randint(0, CONFIG["vocab_size"], (given.batch, given.tokens))

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = model(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    step()
    start = time.perf_counter()
    for _ in range(given.steps):
        step()
    tokens = given.batch * given.tokens * given.steps
    return tokens / (time.perf_counter() - start)


def mlx_case(steps):
    """One short sample a step: a whole batch would take a quarter of an hour."""
    import mlx.core as mx
    import mlx.nn as nn
    import mlx.optimizers as optim
    from mlx_lm.models.llama import Model, ModelArgs
    from mlx_lm.tuner.utils import linear_to_lora_layers

    mx.set_default_device(mx.cpu)
    model = Model(ModelArgs.from_dict({**CONFIG, "head_dim": 64}))
    model.freeze()
    keys = [f"self_attn.{x}_proj" for x in "qkvo"]
    linear_to_lora_layers(
        model, 30, {"rank": RANK, "scale": 2.0, "dropout": 0.0, "keys": keys}
    )
    model.train()
    optimizer = optim.AdamW(learning_rate=1e-4)
    count = 64
    ids = mx.random.randint(0, CONFIG["vocab_size"], (1, count + 1))

    def loss_of(model, ids):
        logits = model(ids[:, :-1]).astype(mx.float32)
        return nn.losses.cross_entropy(logits, ids[:, 1:]).mean()

    gradient = nn.value_and_grad(model, loss_of)
    start = time.perf_counter()
    for _ in range(steps):
        loss, grads = gradient(model, ids)
        optimizer.update(model, grads)
        mx.eval(model.parameters(), optimizer.state, loss)
    return count * steps / (time.perf_counter() - start)


def roofline_case(given, precision):
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "train.jsonl"
        words = " ".join(f"word {i} of {i * i}" for i in range(40000))
        lines = [json.dumps({"text": words[i * 4000 :]}) for i in range(4)]
        data.write_text("\n".join(lines) + "\n", "utf-8")
        command = [BINARY, "train", "--data", str(data), "--quiet", "--device", "cpu"]
        command += ["--output", f"{folder}/out", "--long", "split"]
        command += ["--batch", str(given.batch), "--max-tokens", str(given.tokens)]
        command += ["--rank", str(RANK), "--steps", str(given.steps + 1)]
        command += ["--precision", precision, "--save-every", "0"]
        command += ["--threads", str(given.threads), "--json"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        figures = [
            json.loads(line)
            for line in (Path(folder) / "out/metrics.jsonl").read_text().splitlines()
        ][1:]
        speed = sum(f["tokens"] for f in figures) / sum(f["seconds"] for f in figures)
        return speed, max(f["peak_memory_bytes"] for f in figures)


def one(case, given):
    if case.startswith("roofline"):
        speed, peak = roofline_case(
            given, "bf16" if case.endswith("bf16") else "float32")
    else:
        if case == "mlx-lm":
            speed = mlx_case(1)
        else:
            speed = torch_case(case == "torch bf16", given)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"speed": speed, "peak": peak}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--cases", default="roofline,roofline bf16,torch f32,torch bf16,mlx-lm")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given.one, given)
        return
    results = {case: [] for case in given.cases.split(",")}
    for _ in range(given.rounds):
        for case, found in results.items():
            command = [given.python, __file__, "--one", case]
            for name in ("steps", "threads", "batch", "tokens"):
                command += [f"--{name}", str(getattr(given, name))]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                print(f"{case}: {done.stderr.strip().splitlines()[-1]}")
                continue
            found.append(json.loads(done.stdout.splitlines()[-1]))
            print(f"{case}: {found[-1]['speed']:.1f} tok/s", flush=True)
    for case, found in results.items():
        if found:
            speed = statistics.median(f["speed"] for f in found)
            peak = max(f["peak"] for f in found) / 1e9
            print(f"{case:12} median {speed:8.1f} tok/s, peak {peak:.2f} GB")


if __name__ == "__main__":
    main()
