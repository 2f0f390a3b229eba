#!/usr/bin/env python3
"""Adapters exchanged with mlx-lm and PEFT: on the goldens' tiny checkpoints,
the logits that each side gives with the same adapter.

    bench/adapter_peers.py --python PYTHON [--only NAME] [--cases CASE,...]

PYTHON has mlx-lm, torch, transformers and peft. Cases: "mlx lora", "mlx dora",
"mlx full" (trained by `mlx_lm.lora` with all of a layer's matrices, read here
and fused here), "ours lora", "ours dora" (trained here, read by mlx-lm), "peft
in" (made by peft, read here), "peft gate up" and "peft down first" (the
same with the parameters of experts that target_parameters names, one or both) and
"peft out" (trained here, written as PEFT's,
read by peft). Prints the largest difference of the logits in standard
deviations; the exit status is 1 where one is above 1e-3 or fails.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SOURCE / "tests/cli"))
BINARY = os.environ.get("ROOFLINE_BINARY", str(SOURCE / "build/release/roofline"))
GOLDENS = SOURCE / "tests/goldens"
DENSE = ["llama", "qwen2", "gemma2", "phi3", "glm4", "cohere2", "gemma3_text", "olmo2"]
MIXTURES = ["qwen3_moe", "mixtral", "olmoe", "qwen2_moe", "deepseek_v2", "gpt_oss"]
CASES = [
    "mlx lora", "mlx dora", "mlx full", "ours lora", "ours dora", "peft in", "peft out",
    "peft gate up", "peft down first",
]  # fmt: skip
ATTENTION = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
PARAMETERS = {
    "peft gate up": ["mlp.experts.gate_up_proj"],
    "peft down first": ["mlp.experts.down_proj", "mlp.experts.gate_up_proj"],
}
BOUND = 1e-3
# On a CPU it compiles each shape with a C++ compiler, for tiny models.
os.environ.setdefault("MLX_DISABLE_COMPILE", "1")


def run(*command):
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip() or "it failed").splitlines()
        raise RuntimeError(" / ".join(lines[-3:])[-400:])
    return done.stdout


def model_folder(name, folder):
    """A golden in float32 with a tokenizer beside it, and data of its vocabulary."""
    from convert_test import tokenizer_with_merges
    from safetensors.torch import load_file, save_file

    model = folder / "model"
    model.mkdir()
    config = json.loads((GOLDENS / name / "config.json").read_text())
    vocab = config["vocab_size"]
    if "num_local_experts" in config:  # mlx-lm has only the older name
        config.setdefault("num_experts", config["num_local_experts"])
    # float32, so that fusing rounds nothing; without biases that mlx-lm's has no
    # place for.
    config["dtype"] = config["torch_dtype"] = "float32"
    tensors = load_file(GOLDENS / name / "model.safetensors")
    if name == "qwen3_moe":
        config["attention_bias"] = False
        tensors = {k: v for k, v in tensors.items() if not k.endswith("_proj.bias")}
    save_file(
        {k: v.float().contiguous() for k, v in tensors.items()},
        model / "model.safetensors", metadata={"format": "pt"},
    )  # fmt: skip
    (model / "config.json").write_text(json.dumps(config))
    tokenizer = tokenizer_with_merges(vocab)
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    (model / "tokenizer_config.json").write_text(
        json.dumps({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<s>", "eos_token": "</s>",
        })  # fmt: skip
    )
    data = folder / "data"
    data.mkdir()
    for part in ("train", "valid"):
        lines = [json.dumps({"text": f"SOME {i % 7} WORDS {i * i}"}) for i in range(8)]
        (data / f"{part}.jsonl").write_text("\n".join(lines) + "\n")
    return model, data


def token_ids(name):
    from safetensors.numpy import load_file

    return load_file(GOLDENS / name / "golden.safetensors")["input_ids"][:1, :24]


def our_logits(model, ids, folder, *more):
    from safetensors.numpy import load_file

    (folder / "ids.json").write_text(json.dumps(ids.tolist()))
    out = folder / "logits.safetensors"
    run(BINARY, "logits", model, "--ids", folder / "ids.json", "--out", out, "--exact",
        "--device", "cpu", *more)
    return load_file(out)["logits"][0]


def mlx_logits(model, ids, adapter):
    import mlx.core as mx
    import numpy
    from mlx_lm.tuner.utils import load_adapters
    from mlx_lm.utils import load_model

    mx.set_default_device(mx.cpu)
    net, _ = load_model(model)
    if adapter:
        net = load_adapters(net, str(adapter))
    net.apply(lambda x: x.astype(mx.float32) if mx.issubdtype(x.dtype, mx.floating) else x)
    net.eval()
    return numpy.array(net(mx.array(ids)).astype(mx.float32))[0]


def peft_logits(model, ids, adapter):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    net = AutoModelForCausalLM.from_pretrained(
        model, dtype=torch.float32, attn_implementation="eager"
    )
    if adapter:
        net = PeftModel.from_pretrained(net, adapter)
    net.eval()
    with torch.no_grad():
        return net(input_ids=torch.from_numpy(ids).long()).logits[0].float().numpy()


def train_with_mlx(python, model, data, kind, mixture, out):
    # Its adapters learn quickly here, so that the logits change visibly.
    config = {
        "lora_parameters": {"rank": 4, "scale": 4.0, "dropout": 0.0},
        "learning_rate": 1e-2 if kind != "full" else 1e-3, "fine_tune_type": kind,
    }
    if mixture and kind == "dora":  # it has none for experts
        config["lora_parameters"]["keys"] = ATTENTION
    file = out.parent / "config.yaml"
    file.write_text(json.dumps(config))
    run(python, Path(__file__), "--mlx-lm-lora", "--model", model, "--train", "--data", data,
        "--adapter-path", out, "--iters", 6, "--batch-size", 2, "--num-layers", 2,
        "--val-batches", 1, "--config", file)


def make_peft(model, parameters, out):
    """Random matrices for attention and the (dense) feed-forward."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    net = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    targets = (
        {"target_modules": [], "target_parameters": parameters}
        if parameters
        else {"target_modules": "all-linear"}
    )
    config = LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", **targets)
    net = get_peft_model(net, config)
    for key, value in net.named_parameters():
        if "lora_" in key:
            value.data.copy_(0.1 * torch.randn(value.shape))
    net.save_pretrained(out)


def train_here(model, data, kind, out):
    run(BINARY, "train", "--model", model, "--data", data / "train.jsonl", "--output", out,
        "--method", kind, "--rank", 4, "--alpha", 16, "--learning-rate", 0.02, "--steps", 6,
        "--batch", 2, "--quiet", "--threads", 1, "--device", "cpu", "--save-every", 0)


def apart(a, b):
    return float(abs(a - b).max() / b.std())


def one(case, name, python, folder):
    """[(what was compared, how far apart)]"""
    model, data = model_folder(name, folder)
    ids = token_ids(name)
    adapter = folder / "adapter"
    kind = case.split()[-1]
    theirs = peft_logits if case.startswith("peft") else mlx_logits
    if case.startswith("mlx"):
        train_with_mlx(python, model, data, kind, name in MIXTURES, adapter)
    elif case in ("peft in", *PARAMETERS):
        make_peft(model, PARAMETERS.get(case), adapter)
    else:
        train_here(model, data, "lora" if case == "peft out" else kind, adapter)
    own = adapter
    if case == "peft out":
        own = folder / "peft"
        run(BINARY, "fuse", model, "--adapter", adapter, "--as", "peft", "-o", own)
    wanted = theirs(model, ids, own)
    plain = theirs(model, ids, None)
    if apart(our_logits(model, ids, folder), plain) > BOUND:
        raise RuntimeError("the models differ without any adapter")
    changed = apart(wanted, plain)
    if changed < 0.01:
        raise RuntimeError(f"the adapter changes the logits by {changed:.1e} only")
    out = [("attached", apart(our_logits(model, ids, folder, "--adapter", adapter), wanted))]
    fused = folder / "fused"
    run(BINARY, "fuse", model, "--adapter", adapter, "-o", fused)
    out.append(("fused", apart(our_logits(fused, ids, folder), wanted)))
    return out


def main():
    if "--mlx-lm-lora" in sys.argv:
        import mlx.core as mx
        from mlx_lm import lora

        mx.set_default_device(mx.cpu)
        sys.argv.remove("--mlx-lm-lora")
        lora.main()
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--only", default=",".join(DENSE + MIXTURES), help="goldens")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        case, name = given.one
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(one(case, name, given.python, Path(folder))))
        return 0
    bad = 0
    for name in given.only.split(","):
        for case in given.cases.split(","):
            if case in PARAMETERS and name not in MIXTURES:
                continue
            done = subprocess.run(
                [given.python, __file__, "--python", given.python, "--one", case, name],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode != 0:
                lines = done.stderr.strip().splitlines() or ["it failed"]
                bad += 1
                print(f"{name:14} {case:10} {lines[-1][:300]}", flush=True)
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            bad += max(value for _, value in found) > BOUND
            text = ", ".join(f"{what} {value:.1e}" for what, value in found)
            print(f"{name:14} {case:10} {text}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
