"""What mlx-lm writes for some goldens, as digests: the tests compare Roofline's
conversion with them. Needs mlx-lm 0.32.2 with mlx 0.32.4 (CPU).

usage: python3 make_mlx.py      (writes expected.json beside this file)
"""

import hashlib
import json
import tempfile
from pathlib import Path

import mlx.core as mx
from mlx_lm import utils
from mlx_lm.convert import mixed_quant_predicate_builder

HERE = Path(__file__).parent
GOLDENS = HERE.parents[1] / "goldens"

LLAMA_FORMS = [
    None,
    *[("affine", bits, 32) for bits in (2, 3, 4, 5, 6, 8)],
    ("affine", 4, 64),
    ("mxfp4", 4, 32),
    ("nvfp4", 4, 16),
    ("mxfp8", 8, 32),
    "mixed_3_6",
]
CASES = {
    "llama": LLAMA_FORMS,
    "llama_bias_tied": [("affine", 4, 32)],
    "gemma": [("affine", 4, 64)],
    "gemma3_text": [("affine", 4, 64), ("mxfp8", 8, 32)],
    "granite": [("affine", 4, 64), ("nvfp4", 4, 16)],
    "olmo2": [("affine", 4, 64)],
    "phi3": [("affine", 4, 64)],
    "qwen2": [("affine", 4, 64), ("mxfp4", 4, 32)],
    "qwen3": [("affine", 6, 32)],
    "smollm3": [("affine", 4, 64)],
}


def digests(folder):
    out = {}
    for file in sorted(folder.glob("model*.safetensors")):
        raw = file.read_bytes()
        size = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + size])
        header.pop("__metadata__", None)
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            body = raw[8 + size + begin : 8 + size + end]
            shape = "x".join(map(str, entry["shape"]))
            digest = hashlib.sha256(body).hexdigest()[:16]
            out[name] = f"{entry['dtype']} {shape} {digest}"
    lines = [f"{name} {text}" for name, text in sorted(out.items())]
    return {
        "count": len(lines),
        "digest": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
    }


def old_style(name):
    """Fields that mlx-lm asks for under their old names."""
    config = json.loads((GOLDENS / name / "config.json").read_text())
    rope = config.get("rope_parameters") or {}
    rope = rope.get("full_attention", rope)
    return {"rope_theta": rope["rope_theta"]} if "rope_theta" in rope else {}


def convert(name, form):
    model, config = utils.load_model(
        GOLDENS / name, lazy=True, model_config=old_style(name)
    )
    if isinstance(form, str):
        predicate = mixed_quant_predicate_builder(form, model, 64)
        model, config = utils.quantize_model(
            model, config, 64, 4, quant_predicate=predicate
        )
    elif form:
        mode, bits, group = form
        model, config = utils.quantize_model(model, config, group, bits, mode=mode)
    with tempfile.TemporaryDirectory() as folder:
        utils.save_model(folder, model)
        return {
            "golden": name,
            "form": form,
            "quantization": config.get("quantization"),
            "tensors": digests(Path(folder)),
        }


def main():
    mx.set_default_device(mx.cpu)
    cases = [convert(name, form) for name, forms in CASES.items() for form in forms]
    (HERE / "expected.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
