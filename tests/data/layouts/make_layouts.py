"""Writes small llama checkpoints in the quantized layouts that others use, each
with what `transformers` computes in float32 from the weights that the layout
stands for. Needs numpy, torch, transformers, mlx and safetensors; packs by the
documented layouts, and compares its packing of compressed-tensors with that
package's where it is installed."""

import json
import pathlib

import mlx.core as mx
import numpy as np
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch
from transformers import LlamaConfig, LlamaForCausalLM

ROOT = pathlib.Path(__file__).parent
DIM, HIDDEN, VOCAB, TOKENS = 64, 64, 64, 16
torch.set_num_threads(1)
CONFIG = dict(
    hidden_size=DIM, intermediate_size=HIDDEN, num_hidden_layers=1,
    num_attention_heads=4, num_key_value_heads=2, vocab_size=VOCAB,
    max_position_embeddings=256, tie_word_embeddings=True,
    rms_norm_eps=1e-6, attn_implementation="eager",
)


def base():
    torch.manual_seed(3)
    model = LlamaForCausalLM(LlamaConfig(**CONFIG)).float().eval()
    weights = {}
    for name, value in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        scale = 0.15 if value.dim() == 2 else 1
        value = torch.randn_like(value) * scale if value.dim() == 2 else value
        weights[name] = value.to(torch.bfloat16).float()
    return model, weights


MODEL, WEIGHTS = base()
MATRICES = [n for n in WEIGHTS if "_proj.weight" in n]
rng = np.random.default_rng(5)


def logits(weights):
    state = {n: torch.from_numpy(np.asarray(w, np.float32)) for n, w in weights.items()}
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    MODEL.load_state_dict(state)
    ids = torch.arange(TOKENS)[None] * 7 % VOCAB
    with torch.no_grad():
        return ids.numpy().astype(np.int32), MODEL(ids).logits.numpy()


def write(name, quantization, stored, meant, key="quantization_config"):
    """stored: tensors as they lie in the file; meant: float32 matrices."""
    folder = ROOT / name
    folder.mkdir(exist_ok=True)
    config = {k: v for k, v in CONFIG.items() if k != "attn_implementation"}
    config |= {"model_type": "llama", "hidden_act": "silu",
               "rope_theta": 10000.0, "head_dim": 16, key: quantization}
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    tensors = {n: w.to(torch.bfloat16) for n, w in WEIGHTS.items()
               if n not in meant}
    tensors |= {n: t if isinstance(t, torch.Tensor)
                else torch.from_numpy(np.ascontiguousarray(t))
                for n, t in stored.items()}
    save_torch(tensors, folder / "model.safetensors")
    ids, out = logits({**{n: w.numpy() for n, w in WEIGHTS.items()}, **meant})
    save_file({"input_ids": ids, "logits": out[0]}, folder / "expected.safetensors")


def quantize(w, bits, group, symmetric=False, scale_type=np.float16):
    """codes [out, in], scales and zeros [out, groups]: w = s·(code − z)."""
    out, cols = w.shape
    blocks = w.reshape(out, cols // group, group)
    most = 2**bits - 1
    if symmetric:
        zero = np.full((out, cols // group), 2 ** (bits - 1))
        scale = np.abs(blocks).max(-1) / (2 ** (bits - 1) - 0.5)
    else:
        low = np.minimum(blocks.min(-1), 0)
        scale = (np.maximum(blocks.max(-1), 0) - low) / most
        zero = np.clip(np.rint(-low / scale), 0, most)
    scale = scale.astype(scale_type).astype(np.float32)
    codes = np.clip(np.rint(blocks / scale[..., None]) + zero[..., None], 0, most)
    return codes.reshape(out, cols).astype(np.int64), scale, zero.astype(np.int64)


def meaning(codes, scale, zero, groups=None):
    cols = codes.shape[1]
    if groups is None:
        groups = np.arange(cols) // (cols // scale.shape[1])
    return (scale[:, groups] * (codes - zero[:, groups])).astype(np.float32)


def stream(codes, bits):
    """Packs along the first axis, lowest bits first, into int32 words."""
    count, width = codes.shape
    spread = (codes[:, None, :] >> np.arange(bits)[None, :, None]) & 1
    spread = spread.reshape(count * bits // 32, 32, width).astype(np.uint64)
    words = (spread << np.arange(32, dtype=np.uint64)[None, :, None]).sum(1)
    return words.astype(np.uint32).view(np.int32)


def gptq(name, bits, group, v2=False, act_order=False, symmetric=False):
    stored, meant = {}, {}
    for n in MATRICES:
        w = WEIGHTS[n].numpy()
        cols = w.shape[1]
        size = group if group > 0 else cols
        order = rng.permutation(cols) if act_order else np.arange(cols)
        groups = np.empty(cols, np.int64)
        groups[order] = np.arange(cols) // size
        codes, scale, zero = quantize(w[:, order], bits, size, symmetric)
        back = np.empty_like(codes)
        back[:, order] = codes
        if not v2:
            zero = np.maximum(zero, 1)  # 0 can't be stored as itself − 1
        module = n.removesuffix(".weight")
        stored |= {
            module + ".qweight": stream(back.T, bits),
            module + ".qzeros": stream((zero - (0 if v2 else 1)), bits).T,
            module + ".scales": scale.T.astype(np.float16),
            module + ".g_idx": groups.astype(np.int32),
            module + ".bias": np.zeros(w.shape[0], np.float16),
        }
        meant[n] = meaning(back, scale, zero, groups)
    write(name, {"quant_method": "gptq", "bits": bits, "group_size": group,
                 "desc_act": act_order, "sym": symmetric,
                 "checkpoint_format": "gptq_v2" if v2 else "gptq"},
          stored, meant)


def awq(name, group):
    order = [0, 2, 4, 6, 1, 3, 5, 7]

    def words(values):  # [n, out] → [n, out / 8]
        eight = values.reshape(values.shape[0], -1, 8)[..., order].astype(np.uint64)
        return (eight << np.arange(0, 32, 4, dtype=np.uint64)).sum(-1).astype(
            np.uint32).view(np.int32)

    stored, meant = {}, {}
    for n in MATRICES:
        codes, scale, zero = quantize(WEIGHTS[n].numpy(), 4, group)
        module = n.removesuffix(".weight")
        stored |= {module + ".qweight": words(codes.T),
                   module + ".qzeros": words(zero.T),
                   module + ".scales": scale.T.astype(np.float16)}
        meant[n] = meaning(codes, scale, zero)
    write(name, {"quant_method": "awq", "bits": 4, "group_size": group,
                 "zero_point": True, "version": "gemm"}, stored, meant)


def compare_packing(codes, bits, packed):
    try:
        from compressed_tensors.compressors.pack_quantized.helpers import (
            pack_to_int32)
    except ImportError:
        print("compressed-tensors: not compared")
        return
    signed = torch.from_numpy((codes - 2 ** (bits - 1)).astype(np.int8))
    assert (pack_to_int32(signed, bits).numpy() == packed).all()
    print("compressed-tensors: the same words")


def compressed_packed(name, bits, group, symmetric):
    stored, meant = {}, {}
    for n in MATRICES:
        w = WEIGHTS[n].numpy()
        size = group if group > 0 else w.shape[1]
        codes, scale, zero = quantize(w, bits, size, symmetric)
        module = n.removesuffix(".weight")
        packed = stream(codes.T, bits).T
        compare_packing(codes, bits, packed)
        stored |= {
            module + ".weight_packed": packed,
            module + ".weight_scale": torch.from_numpy(scale).to(torch.bfloat16),
            module + ".weight_shape": np.array(w.shape, np.int64),
        }
        scale = torch.from_numpy(scale).to(torch.bfloat16).float().numpy()
        if not symmetric:
            stored[module + ".weight_zero_point"] = stream(zero, bits)
        meant[n] = meaning(codes, scale, zero)
    group_0 = {"targets": ["Linear"], "weights": {
        "num_bits": bits, "type": "int", "symmetric": symmetric,
        "strategy": "group" if group > 0 else "channel", "group_size": group}}
    write(name, {"quant_method": "compressed-tensors",
                 "format": "pack-quantized", "ignore": ["lm_head"],
                 "config_groups": {"group_0": group_0}}, stored, meant)


def compressed_int8(name):
    stored, meant = {}, {}
    for n in MATRICES:
        w = WEIGHTS[n].numpy()
        codes, scale, zero = quantize(w, 8, w.shape[1], True, np.float32)
        stored |= {n: (codes - 128).astype(np.int8),
                   n + "_scale": scale.astype(np.float32)}
        meant[n] = meaning(codes, scale, zero)
    group_0 = {"targets": ["Linear"], "weights": {
        "num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"},
        "input_activations": {"num_bits": 8, "type": "int", "dynamic": True}}
    write(name, {"quant_method": "compressed-tensors",
                 "format": "int-quantized", "ignore": ["lm_head"],
                 "config_groups": {"group_0": group_0}}, stored, meant)


def fp8(name, quantization, blocks, suffix):
    """blocks: (rows, cols) of one scale; 0: all of them."""
    stored, meant = {}, {}
    for n in MATRICES:
        w = WEIGHTS[n]
        rows, cols = (b or s for b, s in zip(blocks, w.shape))
        padded = torch.nn.functional.pad(
            w, (0, -w.shape[1] % cols, 0, -w.shape[0] % rows))
        tiles = padded.reshape(
            padded.shape[0] // rows, rows, padded.shape[1] // cols, cols)
        scale = tiles.abs().amax((1, 3)) / 448
        codes = (tiles / scale[:, None, :, None]).to(torch.float8_e4m3fn)
        back = (codes.float() * scale[:, None, :, None]).reshape(padded.shape)
        stored |= {n: codes.reshape(padded.shape)[: w.shape[0], : w.shape[1]].contiguous(),
                   n + suffix: scale[0] if blocks == (0, 0) else scale}
        meant[n] = back[: w.shape[0], : w.shape[1]].numpy()
    write(name, quantization, stored, meant)


E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)


def e2m1_codes(values):
    """The nearest of the sixteen values, as codes."""
    nearest = np.abs(np.abs(values)[..., None] - E2M1).argmin(-1)
    return (nearest | (values < 0) * 8).astype(np.uint8)


def packed_pairs(codes):
    return codes[:, ::2] | codes[:, 1::2] << 4


def e2m1_meaning(codes, scales):
    values = E2M1[codes & 7] * np.where(codes & 8, -1, 1)
    return (values * np.repeat(scales, codes.shape[1] // scales.shape[1], 1)).astype(
        np.float32)


def power_scales(w, group, most):
    """Powers of two as e8m0 bytes, and their values."""
    tops = np.abs(w.reshape(w.shape[0], -1, group)).max(-1)
    exponents = np.clip(np.ceil(np.log2(tops / most)) + 127, 0, 254).astype(np.uint8)
    return exponents, np.exp2(exponents.astype(np.float32) - 127)


def e4m3_scales(w, factor):
    """The scales of groups of 16 in e4m3, once divided by the matrix's factor."""
    tops = np.abs(w.reshape(w.shape[0], -1, 16)).max(-1)
    return torch.from_numpy(tops / 6 / factor).to(torch.float8_e4m3fn)


def compressed_scheme(bits, group, strategy, scale_type=None):
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    return QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(
        num_bits=bits, type="float", symmetric=True, strategy=strategy,
        group_size=group, scale_dtype=scale_type))


def compressed_small_floats(name, form, bits, group):
    """Packed by compressed-tensors itself; the meaning is checked against its own
    decompression, which rounds to bf16."""
    from compressed_tensors.compressors import BaseCompressor

    nvfp4 = form == "nvfp4-pack-quantized"
    compressor = BaseCompressor.get_value_from_registry(form)
    scheme = compressed_scheme(bits, group, "tensor_group" if nvfp4 else "group",
                               torch.uint8 if form.startswith("mx") else None)
    stored, meant = {}, {}
    for n in MATRICES:
        w = WEIGHTS[n]
        module = n.removesuffix(".weight")
        state = {"weight": w}
        if nvfp4:
            inverse = 448 * 6 / w.abs().max().reshape(1)
            state["weight_global_scale"] = inverse
            state["weight_scale"] = e4m3_scales(w.numpy(), 1 / inverse.item()).float()
        else:
            _, scale = power_scales(w.numpy(), group, 6 if bits == 4 else 448)
            state["weight_scale"] = torch.from_numpy(scale)
        out = compressor.compress(state, scheme)
        scales = out["weight_scale"]
        if nvfp4:
            scales = scales.float() / out["weight_global_scale"]
        else:
            scales = torch.exp2(scales.float() - 127)
        if bits == 4:
            pairs = out["weight_packed"].numpy()
            codes = np.stack([pairs & 15, pairs >> 4], -1).reshape(w.shape)
            meant[n] = e2m1_meaning(codes, scales.numpy())
        else:
            meant[n] = (out["weight"].float() * scales.repeat_interleave(group, 1)).numpy()
        theirs = compressor.decompress(out, scheme)["weight"].float().numpy()
        assert np.allclose(theirs, meant[n], rtol=1e-2, atol=1e-6)
        stored |= {f"{module}.{end}": t.contiguous() for end, t in out.items()}
    weights = {"num_bits": bits, "type": "float", "symmetric": True,
               "strategy": "tensor_group" if nvfp4 else "group", "group_size": group}
    write(name, {"quant_method": "compressed-tensors", "format": form,
                 "ignore": ["lm_head"], "config_groups": {"group_0": {
                     "targets": ["Linear"], "weights": weights, "format": form}}},
          stored, meant)


def modelopt(name, algorithm, beside=False):
    """As the exporter of NVIDIA's ModelOpt writes them; beside: with the form in
    hf_quant_config.json alone, as its first versions did."""
    stored, meant = {}, {}
    for n in MATRICES:
        w = WEIGHTS[n]
        module = n.removesuffix(".weight")
        stored[module + ".input_scale"] = torch.tensor(0.01)
        if algorithm == "NVFP4":
            factor = w.abs().max() / (448 * 6)
            scales = e4m3_scales(w.numpy(), factor.item())
            each = (scales.float() * factor).numpy()
            codes = e2m1_codes(w.numpy() / np.repeat(each, 16, 1))
            stored |= {n: packed_pairs(codes), module + ".weight_scale": scales,
                       module + ".weight_scale_2": factor}
            meant[n] = e2m1_meaning(codes, each)
            continue
        rows, cols = (32, 16) if algorithm == "FP8_PB_WO" else w.shape
        tiles = w.reshape(w.shape[0] // rows, rows, w.shape[1] // cols, cols)
        scale = tiles.abs().amax((1, 3), keepdim=True) / 448
        codes = (tiles / scale).to(torch.float8_e4m3fn)
        meant[n] = (codes.float() * scale).reshape(w.shape).numpy()
        if algorithm == "FP8":
            scale = scale.reshape(())
        stored |= {n: codes.reshape(w.shape), module + ".weight_scale": scale}
    settings = {"quant_algo": algorithm, "kv_cache_quant_algo": None}
    if algorithm == "NVFP4":
        settings |= {"group_size": 16}
    write(name, {"quant_method": "modelopt", **settings}, stored, meant)
    if beside:
        folder = ROOT / name
        config = json.loads((folder / "config.json").read_text())
        del config["quantization_config"]
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        (folder / "hf_quant_config.json").write_text(json.dumps({
            "producer": {"name": "modelopt"},
            "quantization": {**settings, "exclude_modules": ["lm_head"]}}, indent=1) + "\n")


def fp8_power_blocks(name, block):
    stored, meant = {}, {}
    for n in MATRICES:
        w = WEIGHTS[n]
        tiles = w.reshape(w.shape[0] // block, block, w.shape[1] // block, block)
        scale = torch.exp2(torch.ceil(torch.log2(tiles.abs().amax((1, 3)) / 448)))
        codes = (tiles / scale[:, None, :, None]).to(torch.float8_e4m3fn)
        meant[n] = (codes.float() * scale[:, None, :, None]).reshape(w.shape).numpy()
        stored |= {n: codes.reshape(w.shape),
                   n + "_scale_inv": scale.to(torch.float8_e8m0fnu)}
    write(name, {"quant_method": "fp8", "fmt": "e4m3", "scale_fmt": "ue8m0",
                 "weight_block_size": [block, block]}, stored, meant)


def bitnet(name):
    stored, meant = {}, {}
    for n in MATRICES:
        w = WEIGHTS[n].numpy()
        scale = torch.tensor(1 / np.abs(w).mean()).to(torch.bfloat16).float().numpy()
        codes = np.clip(np.rint(w * scale), -1, 1).astype(np.int64) + 1
        quarters = codes.reshape(4, w.shape[0] // 4, w.shape[1])
        packed = sum(quarters[i] << 2 * i for i in range(4)).astype(np.uint8)
        stored |= {n: packed,
                   n + "_scale": torch.from_numpy(scale.reshape(1)).to(torch.bfloat16)}
        meant[n] = ((codes - 1) / scale).astype(np.float32)
    write(name, {"quant_method": "bitnet", "linear_class": "bitlinear",
                 "quantization_mode": "offline"}, stored, meant)


def mlx(name, quantization, own=None):
    """own: forms of single modules, by the end of their names."""
    stored, meant, entries = {}, {}, dict(quantization)
    for n in MATRICES + ["model.embed_tokens.weight"]:
        form = dict(quantization)
        module = n.removesuffix(".weight")
        for end, special in (own or {}).items():
            if module.endswith(end):
                form = special
                entries[module] = special
        w = mx.array(WEIGHTS[n].numpy()).astype(mx.bfloat16)
        if form is False:
            continue
        parts = mx.quantize(w, form.get("group_size"), form.get("bits"),
                            mode=form.get("mode", "affine"))
        for part, end in zip(parts, (".weight", ".scales", ".biases")):
            if part.dtype == mx.bfloat16:
                part = torch.from_numpy(np.array(part.astype(mx.float32))).to(torch.bfloat16)
            else:
                part = np.array(part)
            stored[module + end] = part
        floats = [p.astype(mx.float32) if p.dtype == mx.bfloat16 else p for p in parts]
        meant[n] = np.array(mx.dequantize(
            *floats, group_size=form.get("group_size"), bits=form.get("bits"),
            mode=form.get("mode", "affine"), dtype=mx.float32))
    write(name, entries, stored, meant, key="quantization")


def main():
    mx.set_default_device(mx.cpu)
    gptq("gptq_4", 4, 32)
    gptq("gptq_8_v2", 8, -1, v2=True, symmetric=True)
    gptq("gptq_3", 3, 32)
    gptq("gptq_2_act_order", 2, 16, act_order=True)
    awq("awq", 32)
    compressed_packed("compressed_4", 4, 32, symmetric=False)
    compressed_packed("compressed_8", 8, -1, symmetric=True)
    compressed_int8("compressed_int8")
    fp8_group = {"group_0": {"targets": ["Linear"], "weights": {
        "num_bits": 8, "type": "float", "strategy": "channel"}}}
    fp8("compressed_fp8", {
        "quant_method": "compressed-tensors", "format": "float-quantized",
        "config_groups": fp8_group}, (1, 0), "_scale")
    fp8("fp8_blocks", {
        "quant_method": "fp8", "fmt": "e4m3",
        "weight_block_size": [48, 40]}, (48, 40), "_scale_inv")
    fp8("fp8_tensor", {"quant_method": "fp8"}, (0, 0), "_scale_inv")
    bitnet("bitnet")
    compressed_small_floats("compressed_nvfp4", "nvfp4-pack-quantized", 4, 16)
    compressed_small_floats("compressed_mxfp4", "mxfp4-pack-quantized", 4, 32)
    compressed_small_floats("compressed_mxfp8", "mxfp8-quantized", 8, 32)
    modelopt("modelopt_nvfp4", "NVFP4")
    modelopt("modelopt_fp8", "FP8", beside=True)
    modelopt("modelopt_fp8_blocks", "FP8_PB_WO")
    fp8_power_blocks("fp8_power_blocks", 32)
    for mode in ("mxfp4", "nvfp4", "mxfp8"):
        sizes = {"mxfp4": (32, 4), "nvfp4": (16, 4), "mxfp8": (32, 8)}[mode]
        mlx("mlx_" + mode, {
            "group_size": sizes[0], "bits": sizes[1], "mode": mode})
    mlx("mlx_mixed", {"group_size": 32, "bits": 3}, {
        "v_proj": {"group_size": 32, "bits": 6},
        "k_proj": {"group_size": 64, "bits": 2},
        "o_proj": {"group_size": 64, "bits": 5},
        "down_proj": {"group_size": 32, "bits": 8},
        "up_proj": {"group_size": 32, "bits": 4, "mode": "mxfp4"},
        "embed_tokens": False})


main()
