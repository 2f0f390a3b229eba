#!/usr/bin/env python3
"""Lists what llama.cpp's conversion writes of the goldens: metadata and tensors.

    make_headers.py LLAMA_CPP GOLDENS OUT [NAME ...]

LLAMA_CPP is a checkout of llama.cpp, whose conversion package does the work; it
also needs torch, transformers and safetensors. OUT/NAME.txt gets a line for each
key ("key  type  value", without what names or describes the model and without the
vocabulary) and for each tensor ("tensor  type  sizes"), sorted. Files are written
as f16, so that the listing says which tensors stay f32. With --keep DIR the
files stay there.
"""

import json
import logging
import pathlib
import shutil
import sys
import tempfile
import types

import torch

# Goldens whose conversions say what the goldens are: the others have options that
# files of llama.cpp can't say, or that its conversion passes over.
NAMES = [
    "apertus", "deepseek_v3", "exaone4_full", "falcon_h1_gate_first",
    "gemma", "gemma4_keys_are_values", "gemma4_text", "glm4", "glm4_moe", "granite", "granitemoe",
    "granitemoehybrid", "lfm2", "llama", "llama_bias_tied", "llama_rope_linear", "llama_rope_llama3",
    "llama_rope_yarn", "mamba2", "minimax_m2", "mixtral", "nemotron_h", "olmo", "olmo2",
    "phi3", "phi3_longrope", "qwen2", "qwen3", "qwen3_5_equal_dims", "qwen3_next_equal_dims",
    "smollm3", "stablelm",
]  # fmt: skip
SKIPPED_KEYS = ("general.", "tokenizer.", "GGUF.")


def as_published(config):
    """Fields that conversions expect beside those of the goldens, or otherwise."""
    if config["model_type"] == "nemotron_h":
        letters = {"linear_attention": "M", "full_attention": "*", "mlp": "-"}
        kinds = config.pop("layers_block_type")
        config["hybrid_override_pattern"] = "".join(letters[kind] for kind in kinds)
        config["num_hidden_layers"] = len(kinds)
        config["mamba_d_head"] = config["mamba_head_dim"]
        for name in ("num_experts_per_tok", "n_routed_experts", "n_group", "topk_group"):
            config.pop(name, None)
    if config["model_type"] == "granitemoehybrid":
        kinds = {"linear_attention": "mamba", "full_attention": "attention"}
        config["layer_types"] = [kinds.get(kind, kind) for kind in config["layer_types"]]
    return config


def convert(folder, out):
    """Runs llama.cpp's conversion, with numbered tokens for a vocabulary."""
    import gguf
    from conversion import get_model_class
    from conversion.base import ModelBase, ModelType, get_model_architecture

    def write_numbers(self):
        count = self.hparams["vocab_size"]
        self.gguf_writer.add_tokenizer_model("gpt2")
        self.gguf_writer.add_tokenizer_pre("default")
        self.gguf_writer.add_token_list([f"t{i}" for i in range(count)])
        self.gguf_writer.add_token_types([1] * count)

    config = ModelBase.load_hparams(folder, False)
    kind = get_model_class(get_model_architecture(config, ModelType.TEXT))
    kind.no_mtp = True
    with torch.inference_mode():
        # With transformers' defaults every model of this family has experts.
        plain = json.loads((folder / "config.json").read_text())
        more = {"hparams": plain} if plain["model_type"] == "nemotron_h" else {}
        model = kind(folder, gguf.LlamaFileType.MOSTLY_F16, out, **more)
        model = getattr(model, "impl", model)
        model.set_vocab = types.MethodType(write_numbers, model)
        model.write()


def value_of(field):
    from gguf import GGUFValueType

    if field.types[0] == GGUFValueType.ARRAY:
        kind = f"array of {field.types[1].name.lower()}"
    else:
        kind = field.types[0].name.lower()
    value = field.contents()
    if isinstance(value, float):
        value = float(f"{value:.6g}")
    if isinstance(value, list):
        value = [float(f"{v:.6g}") if isinstance(v, float) else v for v in value]
    return kind, json.dumps(value)


def listing(file):
    from gguf import GGUFReader

    reader = GGUFReader(file)
    lines = []
    for name, field in sorted(reader.fields.items()):
        if name == "general.architecture" or not name.startswith(SKIPPED_KEYS):
            lines.append("  ".join([name, *value_of(field)]))
    for tensor in sorted(reader.tensors, key=lambda t: t.name):
        sizes = " ".join(str(size) for size in tensor.shape)
        lines.append(f"{tensor.name}  {tensor.tensor_type.name.lower()}  {sizes}")
    return "\n".join(lines) + "\n"


def make(golden, out, keep):
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary) / golden.name
        folder.mkdir()
        for file in golden.glob("*"):
            if file.suffix in (".json", ".safetensors") and file.name != "golden.safetensors":
                shutil.copy(file, folder)
        config = as_published(json.loads((folder / "config.json").read_text()))
        (folder / "config.json").write_text(json.dumps(config))
        vocab = config.get("text_config", config)["vocab_size"]
        numbers = {f"t{i}": i for i in range(vocab)}
        (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": numbers}, "added_tokens": []}))
        file = (keep or pathlib.Path(temporary)) / f"{golden.name}.gguf"
        convert(folder, file)
        (out / f"{golden.name}.txt").write_text(listing(file))


def main():
    arguments = sys.argv[1:]
    keep = None
    if "--keep" in arguments:
        at = arguments.index("--keep")
        keep = pathlib.Path(arguments[at + 1])
        del arguments[at : at + 2]
    if len(arguments) < 3:
        sys.exit(__doc__)
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    llama_cpp, goldens, out = map(pathlib.Path, arguments[:3])
    sys.path[:0] = [str(llama_cpp), str(llama_cpp / "gguf-py")]
    out.mkdir(parents=True, exist_ok=True)
    for name in arguments[3:] or NAMES:
        make(goldens / name, out, keep)
        print("made", name, flush=True)


if __name__ == "__main__":
    main()
