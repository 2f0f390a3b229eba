"""Whether a cache in codes moves a golden's logits as far as it must, by hand (it
needs torch and transformers): `transformers` with each key and value put through
the same codes, beside `roofline logits --kv-bits`. Where tokens go to experts, once
more with the router's choices of the run with floats: what then is left is what
codes alone move.

usage: python3 bench/kv_codes_peers.py [--roofline build/release/roofline] [NAME ...]
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, cache_utils

ROOT = Path(__file__).parents[1]
GOLDENS = ROOT / "tests/goldens"
NAMES = ["llama", "mixtral", "qwen3_moe", "glm4_moe", "phimoe", "gemma4_text",
         "gemma4_experts"]  # fmt: skip
GROUP = 32
codes_bits = None  # what caches do now


def half_towards(x, low):
    """The nearest f16 that isn't above (low) or below x."""
    half = x.half()
    wrong = half.float() > x if low else half.float() < x
    edge = torch.tensor(-65504.0 if low else 65504.0).half()
    return torch.where(wrong, torch.nextafter(half, edge), half).float()


def through_codes(x):
    dims = x.shape[-1]
    padded = torch.cat([x, x[..., -1:].expand(*x.shape[:-1], -dims % GROUP)], -1)
    groups = padded.reshape(*x.shape[:-1], -1, GROUP)
    bias = half_towards(groups.amin(-1, keepdim=True), True)
    steps = 2**codes_bits - 1
    scale = half_towards((groups.amax(-1, keepdim=True) - bias) / steps, False)
    codes = ((groups - bias) / scale.clamp_min(1e-30)).round().clamp(0, steps)
    return (codes * scale + bias).reshape(padded.shape)[..., :dims]


def patch_caches():
    for kind in (cache_utils.DynamicLayer, cache_utils.DynamicSlidingWindowLayer):
        before = kind.update

        def update(self, keys, values, *more, before=before, **named):
            if codes_bits:
                keys, values = through_codes(keys), through_codes(values)
            return before(self, keys, values, *more, **named)

        kind.update = update


class Routers:
    """Keeps what a model's routers choose, or gives them what was kept."""

    def __init__(self, model):
        self.kept, self.forced = {}, False
        for name, module in model.named_modules():
            if "Router" in type(module).__name__:
                module.register_forward_hook(self.hook(name))

    def hook(self, name):
        def forward(module, inputs, output):
            if self.forced:
                return self.kept[name]
            self.kept[name] = output

        return forward

    def choices(self):
        whole = [t for out in self.kept.values() for t in out if not t.is_floating_point()]
        return [row for t in whole for row in t.sort(-1)[0].reshape(-1, t.shape[-1]).tolist()]


def ours(options, name, ids, bits, folder):
    (folder / "ids.json").write_text(json.dumps(ids.tolist()))
    out = folder / "logits.safetensors"
    subprocess.run(
        [options.roofline, "logits", GOLDENS / name, "--exact", "--kv-bits", str(bits),
         "--kv-group-size", str(GROUP), "--ids", folder / "ids.json", "--out", out],
        check=True, capture_output=True,
    )  # fmt: skip
    return load_file(out)["logits"].float().reshape(ids.shape[1], -1)


def check(options, name, folder):
    global codes_bits
    model = AutoModelForCausalLM.from_pretrained(
        GOLDENS / name, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    golden = load_file(GOLDENS / name / "golden.safetensors")
    ids, floats = golden["input_ids"][:1].long(), golden["logits"][0]
    routers = Routers(model)

    def run(bits):
        global codes_bits
        codes_bits = bits
        with torch.no_grad():
            return model(ids, use_cache=True).logits[0]

    def far(a, b):
        return float((a - b).abs().max() / floats.std())

    for bits in (8, 4):
        routers.forced = False
        run(None)
        chosen, kept = routers.choices(), dict(routers.kept)
        theirs = run(bits)
        moved = sum(a != b for a, b in zip(chosen, routers.choices()))
        routers.kept, routers.forced = kept, True
        same = f"{far(run(bits), floats):.3f}" if chosen else "–"
        mine = ours(options, name, ids, bits, folder)
        print(f"| {name} | {bits} | {far(theirs, floats):.3f} | {far(mine, floats):.3f} "
              f"| {far(mine, theirs):.3f} | {moved} of {len(chosen)} | {same} |",
              flush=True)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--roofline", default=ROOT / "build/release/roofline")
    options = parser.parse_args()
    torch.set_num_threads(1)
    patch_caches()
    print("| golden | bits | transformers | Roofline | between them | rows whose "
          "experts change | transformers, experts kept |")  # fmt: skip
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.names:
            check(options, name, Path(folder))


if __name__ == "__main__":
    main()
