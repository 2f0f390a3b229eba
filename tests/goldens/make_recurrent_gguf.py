#!/usr/bin/env python3
"""Writes goldens with recurrent layers as GGUF files, as llama.cpp's converter does.

    make_recurrent_gguf.py GOLDENS OUT [NAME ...]

needs torch, safetensors and gguf. Matrices are BF16, all else F32. The converter
takes A for log(-A), squeezes the convolution, splits what is packed, folds
factors and the ones of norms into weights, and lets value heads take turns.
"""

import json
import pathlib
import sys

import gguf
import numpy as np
import torch
from safetensors.torch import load_file

NAMES = {
    "mamba2": "mamba2",
    "lfm2": "lfm2",
    "falcon_h1_gate_first": "falcon-h1",
    "granitemoehybrid": "granitehybrid",
    "granitemoehybrid_dense": "granitehybrid",
    "nemotron_h": "nemotron_h",
    "nemotron_h_experts": "nemotron_h_moe",
    "qwen3_next": "qwen3next",
    "qwen3_5_text": "qwen35",
    "qwen3_5_moe_text": "qwen35moe",
}

LAYER = {
    "input_layernorm.weight": "attn_norm.weight",
    "operator_norm.weight": "attn_norm.weight",
    "norm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "pre_ff_layernorm.weight": "ffn_norm.weight",
    "ffn_norm.weight": "ffn_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
    "feed_forward.gate_proj.weight": "ffn_gate.weight",
    "feed_forward.up_proj.weight": "ffn_up.weight",
    "feed_forward.down_proj.weight": "ffn_down.weight",
    "feed_forward.w1.weight": "ffn_gate.weight",
    "feed_forward.w3.weight": "ffn_up.weight",
    "feed_forward.w2.weight": "ffn_down.weight",
    "mixer.up_proj.weight": "ffn_up.weight",
    "mixer.up_proj.bias": "ffn_up.bias",
    "mixer.down_proj.weight": "ffn_down.weight",
    "mixer.down_proj.bias": "ffn_down.bias",
    "conv.conv.weight": "shortconv.conv.weight",
    "conv.in_proj.weight": "shortconv.in_proj.weight",
    "conv.out_proj.weight": "shortconv.out_proj.weight",
    "mlp.gate.weight": "ffn_gate_inp.weight",
    "mixer.gate.weight": "ffn_gate_inp.weight",
    "mixer.gate.e_score_correction_bias": "exp_probs_b.bias",
    "block_sparse_moe.router.layer.weight": "ffn_gate_inp.weight",
    "block_sparse_moe.output_linear.weight": "ffn_down_exps.weight",
    "mlp.shared_expert_gate.weight": "ffn_gate_inp_shexp.weight",
    "mlp.shared_expert.gate_proj.weight": "ffn_gate_shexp.weight",
    "mlp.shared_expert.up_proj.weight": "ffn_up_shexp.weight",
    "mlp.shared_expert.down_proj.weight": "ffn_down_shexp.weight",
    "mixer.shared_experts.up_proj.weight": "ffn_up_shexp.weight",
    "mixer.shared_experts.up_proj.bias": "ffn_up_shexp.bias",
    "mixer.shared_experts.down_proj.weight": "ffn_down_shexp.weight",
    "mixer.shared_experts.down_proj.bias": "ffn_down_shexp.bias",
    "mixer.fc1_latent_proj.weight": "ffn_latent_down.weight",
    "mixer.fc1_latent_proj.bias": "ffn_latent_down.bias",
    "mixer.fc2_latent_proj.weight": "ffn_latent_up.weight",
    "mixer.fc2_latent_proj.bias": "ffn_latent_up.bias",
}
for part in ("self_attn", "mixer"):
    for end in ("weight", "bias"):
        for old, new in (("q_proj", "attn_q"), ("k_proj", "attn_k"), ("v_proj", "attn_v"), ("o_proj", "attn_output"),
                         ("out_proj", "attn_output"), ("q_norm", "attn_q_norm"), ("k_norm", "attn_k_norm"),
                         ("q_layernorm", "attn_q_norm"), ("k_layernorm", "attn_k_norm")):
            if not (part == "mixer" and old == "out_proj"):
                LAYER[f"{part}.{old}.{end}"] = f"{new}.{end}"
for part in ("mixer", "mamba", "linear_attn"):
    for old, new in (("in_proj.weight", "ssm_in.weight"), ("in_proj.bias", "ssm_in.bias"),
                     ("out_proj.weight", "ssm_out.weight"), ("out_proj.bias", "ssm_out.bias"),
                     ("conv1d.weight", "ssm_conv1d.weight"), ("conv1d.bias", "ssm_conv1d.bias"),
                     ("A_log", "ssm_a"), ("D", "ssm_d"), ("dt_bias", "ssm_dt.bias"), ("norm.weight", "ssm_norm.weight"),
                     ("in_proj_qkv.weight", "attn_qkv.weight"), ("in_proj_z.weight", "attn_gate.weight"),
                     ("in_proj_ba.weight", "ssm_ba.weight"), ("in_proj_b.weight", "ssm_beta.weight"),
                     ("in_proj_a.weight", "ssm_alpha.weight")):
        LAYER[f"{part}.{old}"] = new
MODEL = {
    "embed_tokens.weight": "token_embd.weight",
    "embeddings.weight": "token_embd.weight",
    "norm.weight": "output_norm.weight",
    "norm_f.weight": "output_norm.weight",
    "final_layernorm.weight": "output_norm.weight",
    "embedding_norm.weight": "token_embd_norm.weight",
    "lm_head.weight": "output.weight",
}


def interleaved(weight, heads):
    """Rows of a head's two halves in turns: the rope of llama.cpp's older families."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def in_turns(tensor, axis, groups, each, dims):
    """Value heads that lie key head by key head, in the order that llama.cpp repeats keys in."""
    shape = list(tensor.shape)
    split = shape[:axis] + [groups, each, dims] + shape[axis + 1:]
    return tensor.reshape(split).swapaxes(axis, axis + 1).reshape(shape)


def fold_falcon(config, name, tensor):
    if name.endswith("in_proj.weight"):
        inner = config["mamba_d_ssm"]
        shared = config["mamba_n_groups"] * config["mamba_d_state"]
        sizes = [inner, inner, shared, shared, config["mamba_n_heads"]]
        rows = torch.cat([torch.full((n,), float(m)) for n, m in zip(sizes, config["ssm_multipliers"])])
        return tensor * config["ssm_in_multiplier"] * rows[:, None]
    factors = {
        "down_proj.weight": config["mlp_multipliers"][1],
        "gate_proj.weight": config["mlp_multipliers"][0],
        "k_proj.weight": config["key_multiplier"] * config["attention_in_multiplier"],
        "q_proj.weight": config["attention_in_multiplier"],
        "v_proj.weight": config["attention_in_multiplier"],
        "o_proj.weight": config["attention_out_multiplier"],
        "out_proj.weight": config["ssm_out_multiplier"],
        "lm_head.weight": config["lm_head_multiplier"],
        "embed_tokens.weight": config["embedding_multiplier"],
    }
    for end, factor in factors.items():
        if name.endswith("." + end) or name == end:
            return tensor * factor
    return tensor


class Converter:
    def __init__(self, folder, arch, path):
        self.config = json.loads((folder / "config.json").read_text())
        self.arch = arch
        self.writer = gguf.GGUFWriter(path, arch)
        self.tensors = load_file(folder / "model.safetensors")
        self.qwen = arch.startswith("qwen")

    def kinds(self):
        c = self.config
        if "hybrid_override_pattern" in c:
            letters = {"M": "linear_attention", "*": "full_attention", "-": "mlp", "E": "moe"}
            return [letters[letter] for letter in c["hybrid_override_pattern"]]
        count = c.get("num_hidden_layers", 0)
        return c.get("layer_types") or c.get("layers_block_type") or ["linear_attention"] * count

    def add(self, name, tensor):
        wide = tensor.dim() > 1 and not name.endswith(("ssm_conv1d.weight", "shortconv.conv.weight")) and "norm" not in name
        if wide and not name.endswith((".ssm_a", ".ssm_d")) and "ffn_gate_inp" not in name:
            data = tensor.to(torch.bfloat16).contiguous().view(torch.int16).numpy().view(np.uint8)
            self.writer.add_tensor(name, data, raw_dtype=gguf.GGMLQuantizationType.BF16)
        else:
            self.writer.add_tensor(name, tensor.float().contiguous().numpy())

    def metadata(self):
        c, w, kinds = self.config, self.writer, self.kinds()
        attends = [kind in ("full_attention", "attention") for kind in kinds]
        w.add_context_length(512)
        w.add_embedding_length(c["hidden_size"])
        w.add_block_count(len(kinds))
        w.add_vocab_size(c["vocab_size"])
        w.add_layer_norm_rms_eps(c.get("rms_norm_eps") or c.get("layer_norm_epsilon") or c.get("norm_eps"))
        heads = c.get("num_attention_heads", 0) if self.arch != "mamba2" else 0
        kv = c.get("num_key_value_heads", 0)
        w.add_head_count(heads)
        if self.arch == "mamba2":
            w.add_feed_forward_length(0)
        elif self.arch.startswith("nemotron"):
            width = c["moe_intermediate_size"] if self.arch.endswith("moe") else c["intermediate_size"]
            w.add_feed_forward_length([width if kind in ("mlp", "moe") else 0 for kind in kinds])
        else:
            hidden = self.tensors.get("model.layers.0.feed_forward.w1.weight")
            w.add_feed_forward_length(hidden.shape[0] if hidden is not None else c.get("shared_intermediate_size" if self.arch == "granitehybrid" else "intermediate_size", 48))
        if self.arch in ("lfm2", "granitehybrid") or self.arch.startswith("nemotron"):
            w.add_head_count_kv([kv if each else 0 for each in attends])
        elif heads:
            w.add_head_count_kv(kv)
        if heads and "head_dim" in c:
            w.add_key_length(c["head_dim"])
            w.add_value_length(c["head_dim"])
        self.ssm_metadata()
        self.more_metadata()

    def ssm_metadata(self):
        c, w = self.config, self.writer
        if self.arch == "lfm2":
            w.add_shortconv_l_cache(c["conv_L_cache"])
            return
        if self.qwen:
            w.add_ssm_conv_kernel(c["linear_conv_kernel_dim"])
            w.add_ssm_state_size(c["linear_key_head_dim"])
            w.add_ssm_group_count(c["linear_num_key_heads"])
            w.add_ssm_time_step_rank(c["linear_num_value_heads"])
            w.add_ssm_inner_size(c["linear_value_head_dim"] * c["linear_num_value_heads"])
            w.add_uint32(f"{self.arch}.full_attention_interval", 3)
            return

        def first(*names):
            return next(c[name] for name in names if name in c)

        heads = first("mamba_n_heads", "mamba_num_heads", "num_heads")
        dims = first("mamba_d_head", "mamba_head_dim", "head_dim")
        inner = c["mamba_d_ssm"] if "mamba_d_ssm" in c else heads * dims
        w.add_ssm_conv_kernel(first("mamba_d_conv", "conv_kernel"))
        w.add_ssm_state_size(first("mamba_d_state", "ssm_state_size", "state_size"))
        w.add_ssm_group_count(first("mamba_n_groups", "n_groups"))
        w.add_ssm_time_step_rank(heads)
        w.add_ssm_inner_size(inner)

    def more_metadata(self):
        c, w = self.config, self.writer
        if "rope_parameters" in c and self.arch != "granitehybrid":
            w.add_rope_freq_base(c["rope_parameters"]["rope_theta"])
        if self.qwen:
            w.add_rope_dimension_count(int(c["head_dim"] * c["rope_parameters"]["partial_rotary_factor"]))
            if self.arch.startswith("qwen35"):
                w.add_rope_dimension_sections([11, 11, 10, 0])
        if self.arch == "granitehybrid":
            w.add_attention_scale(c["attention_multiplier"])
            w.add_embedding_scale(c["embedding_multiplier"])
            w.add_residual_scale(c["residual_multiplier"])
            w.add_logit_scale(c["logits_scaling"])
            w.add_rope_scaling_finetuned(c.get("position_embedding_type") == "rope")
        experts = c.get("num_experts") or c.get("num_local_experts") or (c.get("n_routed_experts") if self.arch.endswith("moe") else 0)
        if not experts:
            return
        w.add_expert_count(experts)
        w.add_expert_used_count(c["num_experts_per_tok"])
        if self.arch != "granitehybrid":
            w.add_expert_feed_forward_length(c["moe_intermediate_size"])
        else:
            w.add_expert_feed_forward_length(c["intermediate_size"])
        shared = c.get("shared_expert_intermediate_size") or c.get("shared_intermediate_size") or c.get("moe_shared_expert_intermediate_size")
        w.add_expert_shared_feed_forward_length(shared)
        if self.arch.startswith("nemotron"):
            w.add_expert_shared_count(c["n_shared_experts"])
            w.add_expert_weights_norm(c["norm_topk_prob"])
            w.add_expert_weights_scale(c["routed_scaling_factor"])
            w.add_expert_group_count(c["n_group"])
            w.add_expert_group_used_count(c["topk_group"])
            if c.get("moe_latent_size"):
                w.add_uint32(f"{self.arch}.moe_latent_size", c["moe_latent_size"])

    def prepared(self, name, tensor):
        """What the converter does to a tensor's values before it is named."""
        c = self.config
        if self.arch == "falcon-h1":
            tensor = fold_falcon(c, name, tensor)
        if name.endswith("A_log"):
            tensor = -torch.exp(tensor)
        if self.qwen and name.endswith("norm.weight") and not name.endswith("linear_attn.norm.weight"):
            tensor = tensor + 1
        if "conv1d.weight" in name or "conv.conv.weight" in name:
            tensor = tensor.squeeze(1)
        if self.arch == "granitehybrid" and "self_attn.q_proj" in name:
            tensor = interleaved(tensor, c["num_attention_heads"])
        if self.arch == "granitehybrid" and "self_attn.k_proj" in name:
            tensor = interleaved(tensor, c["num_key_value_heads"])
        if self.arch.startswith("qwen35") and "linear_attn" in name:
            tensor = self.turned(name, tensor)
        if not self.qwen and name.endswith((".A_log", ".D")):
            tensor = tensor.reshape(-1, 1)
        if not self.qwen and name.endswith(("mixer.norm.weight", "mamba.norm.weight")):
            groups = c.get("mamba_n_groups") or c.get("n_groups")
            tensor = tensor.reshape(groups, -1)
        return tensor

    def turned(self, name, tensor):
        c = self.config
        groups, heads = c["linear_num_key_heads"], c["linear_num_value_heads"]
        keys, dims = 2 * groups * c["linear_key_head_dim"], c["linear_value_head_dim"]
        each = heads // groups
        if ".in_proj_qkv." in name or ".conv1d." in name:
            return torch.cat([tensor[:keys], in_turns(tensor[keys:], 0, groups, each, dims)])
        if ".in_proj_z." in name:
            return in_turns(tensor, 0, groups, each, dims)
        if ".out_proj." in name:
            return in_turns(tensor, 1, groups, each, dims)
        if name.endswith(("in_proj_a.weight", "in_proj_b.weight", "A_log", "dt_bias")):
            return in_turns(tensor, 0, groups, each, 1)
        return tensor

    def packed(self, rest, tensor):
        """Tensors of which several are made: [(name, tensor)]."""
        c = self.config
        if rest.endswith("in_proj_qkvz.weight"):
            groups, key, dims = c["linear_num_key_heads"], c["linear_key_head_dim"], c["linear_value_head_dim"]
            value = c["linear_num_value_heads"] // groups * dims
            parts = tensor.reshape(groups, 2 * key + 2 * value, -1).split([key, key, value, value], dim=1)
            q, k, v, z = (part.reshape(-1, tensor.shape[1]) for part in parts)
            return [("attn_qkv.weight", torch.cat([q, k, v])), ("attn_gate.weight", z)]
        if rest == "block_sparse_moe.input_linear.weight":
            gate, up = tensor.chunk(2, dim=1)
            return [("ffn_gate_exps.weight", gate), ("ffn_up_exps.weight", up)]
        if rest == "shared_mlp.input_linear.weight":
            gate, up = tensor.chunk(2)
            end = "_shexp" if c["num_local_experts"] else ""
            return [(f"ffn_gate{end}.weight", gate), (f"ffn_up{end}.weight", up)]
        if rest == "shared_mlp.output_linear.weight":
            return [("ffn_down_shexp.weight" if c["num_local_experts"] else "ffn_down.weight", tensor)]
        return None

    def run(self):
        self.metadata()
        stacks = {}
        for name, tensor in self.tensors.items():
            tensor = self.prepared(name, tensor.float())
            rest = name.removeprefix("model.").removeprefix("backbone.")
            if not rest.startswith("layers."):
                self.add(MODEL[rest], tensor)
                continue
            _, layer, rest = rest.split(".", 2)
            if ".experts." in rest:
                number, kind = rest.split(".experts.")[1].split(".")[:2]
                stacks.setdefault((layer, kind.removesuffix("_proj")), {})[int(number)] = tensor
                continue
            named = self.packed(rest, tensor)
            if named is None:
                own = LAYER[rest]
                if self.qwen and rest == "post_attention_layernorm.weight":
                    own = "post_attention_norm.weight"
                named = [(own, tensor)]
            for own, part in named:
                self.add(f"blk.{layer}.{own}", part)
        for (layer, kind), parts in stacks.items():
            stack = torch.stack([parts[i] for i in range(len(parts))])
            self.add(f"blk.{layer}.ffn_{kind}_exps.weight", stack)
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    goldens, out, wanted = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
    out.mkdir(parents=True, exist_ok=True)
    for name in wanted or NAMES:
        Converter(goldens / name, NAMES[name], out / f"{name}.gguf").run()
        print("made", name)


if __name__ == "__main__":
    main()
