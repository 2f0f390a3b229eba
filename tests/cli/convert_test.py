"""roofline convert, from outside: what it writes is run again."""

import json
import math
import random
import re
import resource
import shutil
import signal
import statistics
import struct
import time
import unittest

from program import GOLDENS, LLAMA, Program, byte_alphabet, byte_tokenizer
from program import read_safetensors, write_safetensors

LAYOUTS = GOLDENS.parent / "data/layouts"
IDS = [[1, 5, 9, 37, 50, 60, 31, 2, 44, 8]]


def tokenizer_with_merges(tokens=256):
    """Bytes that UTF-8 never has make room for tokens of two characters; those of
    a smaller vocabulary take the place of its last bytes."""
    tokenizer = byte_tokenizer()
    model = tokenizer["model"]
    letters = byte_alphabet()
    free = [0xC0, 0xC1, *range(0xF5, 256)] if tokens > 255 else range(tokens - 4, tokens)
    pairs = ["he", "ll", "Ġt", "33"] if tokens > 255 else ["HE", "LL", "AT", "33"]
    for byte, pair in zip(free, pairs):
        model["vocab"].pop(letters[byte])
        model["vocab"][pair] = byte
        model["merges"].append([pair[0], pair[1]])
    tokenizer["pre_tokenizer"]["use_regex"] = True
    special = {"single_word": False, "lstrip": False, "rstrip": False}
    tokenizer["added_tokens"] = [
        {"id": i, "content": text, "normalized": False, "special": True, **special}
        for i, text in [(1, "<s>"), (2, "</s>")]
    ]
    for token in tokenizer["added_tokens"]:
        model["vocab"].pop(letters[token["id"]])
        model["vocab"][token["content"]] = token["id"]
    model["vocab"] = {text: i for text, i in model["vocab"].items() if i < tokens}
    return tokenizer


class ConvertTest(Program):
    def source(self, name):
        """A golden with a tokenizer beside it. Gemma's scale its scores by
        another number than the one that GGUF files imply: not here."""
        folder = self.folder / "sources" / name
        if not folder.exists():
            folder.mkdir(parents=True)
            for file in ["config.json", "model.safetensors"]:
                shutil.copy(GOLDENS / name / file, folder)
            config = json.loads((folder / "config.json").read_text())
            if "query_pre_attn_scalar" in config:
                config["query_pre_attn_scalar"] = config["head_dim"]
            (folder / "config.json").write_text(json.dumps(config))
            tokenizer = tokenizer_with_merges(config["vocab_size"])
            (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
            (folder / "tokenizer_config.json").write_text(
                json.dumps(
                    {
                        "bos_token": "<s>",
                        "eos_token": "</s>",
                        "chat_template": "{{ messages[0].content }}",
                    }
                )
            )
        return folder

    def logits(self, model, ids=IDS):
        out = self.folder / "logits.safetensors"
        ids = self.write("ids.json", ids)
        self.succeed("logits", model, "--ids", ids, "--out", out, "--exact")
        data = read_safetensors(out)["logits"][2]
        return struct.unpack(f"<{len(data) // 4}f", data)

    def distance(self, a, b, ids=IDS):
        """The largest difference in standard deviations of the logits."""
        left, right = self.logits(a, ids), self.logits(b, ids)
        self.assertEqual(len(left), len(right))
        return max(abs(x - y) for x, y in zip(left, right)) / statistics.pstdev(left)

    def mean_distance(self, a, b):
        """The root of the mean square difference, in the same unit."""
        left, right = self.logits(a), self.logits(b)
        squares = [(x - y) ** 2 for x, y in zip(left, right)]
        return statistics.mean(squares) ** 0.5 / statistics.pstdev(left)

    def convert(self, source, *arguments, **more):
        return self.succeed("convert", "--hf-path", source, *arguments, **more)

    def test_mlx_folders_have_the_logits_of_their_source(self):
        for name in ["llama", "gemma3_text", "phi3_longrope", "granite"]:
            with self.subTest(name):
                out = self.folder / f"mlx-{name}"
                self.convert(self.source(name), "--mlx-path", out)
                self.assertEqual(self.distance(self.source(name), out), 0)

    def test_mlx_folders_of_rearranged_weights_have_the_logits_too(self):
        # Turned, split by head, stacked, multiplied by what the config says.
        for name in [
            "arcee",
            "deepseek_v2",
            "deepseek_v3",
            "ernie4_5_moe",
            "gemma3_multimodal",
            "gemma3n_multimodal",
            "gemma4_experts",
            "gpt_neox",
            "gpt_oss",
            "granitemoehybrid",
            "granitemoehybrid_dense",
            "kimi_k2",
            "lfm2_moe",
            "minimax_m2",
            "ministral_window",
            "nemotron_h_experts",
            "qwen3_5_moe_text",
            "qwen3_5_multimodal",
        ]:
            with self.subTest(name):
                out = self.folder / f"mlx-{name}"
                self.convert(GOLDENS / name, "--mlx-path", out)
                # The norms' weights are stored with their one, in bf16.
                bound = 0.1 if "qwen3_5" in name else 1e-3
                self.assertLess(self.distance(GOLDENS / name, out), bound)
                # What is in that layout already stays as it is.
                again = self.folder / f"again-{name}"
                self.convert(out, "--mlx-path", again)
                self.assertEqual(
                    read_safetensors(out / "model.safetensors"),
                    read_safetensors(again / "model.safetensors"),
                )

    def test_other_programs_codes_stay_where_mlx_has_the_same(self):
        for name, bits, mode in [
            ("gptq_4", 4, "affine"),
            ("awq", 4, "affine"),
            ("compressed_4", 4, "affine"),
            ("compressed_mxfp4", 4, "mxfp4"),
            ("compressed_mxfp8", 8, "mxfp8"),
        ]:
            with self.subTest(name):
                source = LAYOUTS / name
                out = self.folder / f"mlx-{name}"
                self.convert(source, "--mlx-path", out)
                config = json.loads((out / "config.json").read_text())
                form = config["quantization"]
                self.assertEqual((form["bits"], form["mode"]), (bits, mode))
                tensors = read_safetensors(out / "model.safetensors")
                dtype = tensors["model.layers.0.mlp.up_proj.weight"][0]
                self.assertEqual(dtype, "U32")
                # Offsets of affine codes are rounded to their scales' type: in
                # compressed_4 that is bf16.
                bound = 0.06 if mode == "affine" else 1e-3
                self.assertLess(self.distance(source, out), bound)

    def test_codes_that_mlx_has_no_form_for_become_floats_or_are_quantized(self):
        for name in ["compressed_nvfp4", "modelopt_nvfp4", "modelopt_fp8",
                     "fp8_power_blocks", "gptq_2_act_order", "bitnet"]:  # fmt: skip
            with self.subTest(name):
                source = LAYOUTS / name
                out = self.folder / f"out-{name}"
                error = self.refuse("convert", "--hf-path", source, "--mlx-path", out)
                self.assertIn("Add -q to quantize them, or --dequantize", error)
                self.convert(source, "--mlx-path", out, "--dequantize",
                             "--dtype", "float32")  # fmt: skip
                # nvfp4's factor beside the scales takes nothing from them.
                bound = 1e-5 if "nvfp4" in name else 1e-3
                self.assertLess(self.distance(source, out), bound)
                self.convert(source, "--mlx-path", out, "--force", "-q",
                             "--q-bits", "8", "--q-group-size", "32")  # fmt: skip
                self.assertLess(self.distance(source, out), 0.3)

    def test_scales_for_whole_matrices_are_in_what_dequantize_writes(self):
        for name, stacks in [
            ("llama", "up_proj"),
            ("qwen3_moe", "switch_mlp"),
            ("gemma4_experts", "switch_glu"),
        ]:
            with self.subTest(name):
                plain = self.folder / f"nvfp4-{name}"
                self.convert(GOLDENS / name, "--mlx-path", plain, "-q",
                             "--q-mode", "nvfp4")  # fmt: skip
                scaled = self.folder / f"scaled-{name}"
                shutil.copytree(plain, scaled)
                tensors = read_safetensors(scaled / "model.safetensors")
                for module in [n.removesuffix(".scales") for n in tensors]:
                    if module in tensors or stacks not in module:
                        continue
                    shape = tensors[module + ".scales"][1]
                    count = shape[0] if len(shape) == 3 else 1
                    values = [2688 * (0.73 + 0.11 * i) for i in range(count)]
                    tensors[module + ".global_scale"] = (
                        "F32", [count], struct.pack(f"<{count}f", *values))  # fmt: skip
                write_safetensors(scaled / "model.safetensors", tensors)
                self.assertGreater(self.distance(plain, scaled), 0.01)
                out = self.folder / f"floats-{name}"
                self.convert(scaled, "--mlx-path", out, "--dequantize",
                             "--dtype", "float32")  # fmt: skip
                written = read_safetensors(out / "model.safetensors")
                self.assertFalse([n for n in written if "global_scale" in n])
                self.assertLess(self.distance(scaled, out), 1e-4)

    def test_four_bit_experts_stay_as_they_are(self):
        source = GOLDENS / "gpt_oss_mxfp4"
        out = self.folder / "mlx"
        for flags in [[], ["-q", "--q-group-size", "32"]]:
            self.convert(source, "--mlx-path", out, "--force", *flags)
            config = json.loads((out / "config.json").read_text())["quantization"]
            experts = "model.layers.0.mlp.experts.gate_proj"
            self.assertEqual(config.get(experts, config)["mode"], "mxfp4")
            tensors = read_safetensors(out / "model.safetensors")
            blocks = read_safetensors(source / "model.safetensors")[
                "model.layers.0.mlp.experts.gate_up_proj_blocks"
            ]
            row = blocks[1][2] * blocks[1][3]
            gate = b"".join(
                blocks[2][at : at + row] for at in range(0, len(blocks[2]), 2 * row)
            )
            self.assertEqual(tensors[experts + ".weight"][2], gate)
            if not flags:
                self.assertLess(self.distance(source, out), 1e-3)
        self.convert(source, "--mlx-path", out, "--force", "--dequantize",
                     "--dtype", "float32")  # fmt: skip
        self.assertLess(self.distance(source, out), 1e-3)

    def test_experts_come_into_gguf_as_llama_cpp_has_them(self):
        source = self.source("gpt_oss_mxfp4")
        out = self.folder / "experts.gguf"
        self.convert(source, "--gguf-path", out, "--type", "q8_0")
        self.assertLess(self.distance(source, out), 0.1)
        for type_name in ["f32", "bf16"]:
            self.convert(source, "--gguf-path", out, "--type", type_name, "--force")
            self.assertLess(self.distance(source, out), 1e-3)
        # The same blocks as in the file of llama.cpp's own conversion.
        self.convert(source, "--gguf-path", out, "--type", "q4_0", "--force")
        theirs = (GOLDENS / "gpt_oss_mxfp4/model.gguf").read_bytes()
        names = re.findall(rb"(?:blk\.\d+\.)?[a-z_]+\.(?:weight|bias)", theirs)
        self.assertEqual(len(set(names)), 41)
        for name in names:
            self.assertTrue(name in out.read_bytes(), name)
        for part, first, step in [("gate_up", 0, 2), ("gate_up", 1, 2), ("down", 0, 1)]:
            blocks = self.ggml_blocks(source, 1, part, first, step)
            self.assertTrue(blocks in out.read_bytes())
            self.assertTrue(blocks in theirs)

    def test_experts_one_by_one_are_stacked_in_gguf(self):
        source = self.folder / "mixture"
        source.mkdir()
        dim, hidden, experts, vocab = 32, 32, 4, 256
        config = {
            "model_type": "qwen3_moe", "vocab_size": vocab, "hidden_size": dim,
            "intermediate_size": 48, "moe_intermediate_size": hidden,
            "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 1, "head_dim": 16, "num_experts": experts,
            "num_experts_per_tok": 2, "norm_topk_prob": True,
            "max_position_embeddings": 64, "tie_word_embeddings": False,
        }  # fmt: skip
        shapes = {"model.embed_tokens": [vocab, dim], "lm_head": [vocab, dim],
                  "model.norm": [dim]}  # fmt: skip
        for layer in ["model.layers.0.", "model.layers.1."]:
            for name, rows, cols in [("q", 32, dim), ("k", 16, dim), ("v", 16, dim),
                                     ("o", dim, 32)]:  # fmt: skip
                shapes[f"{layer}self_attn.{name}_proj"] = [rows, cols]
            shapes[layer + "mlp.gate"] = [experts, dim]
            for norm in ["input_layernorm", "post_attention_layernorm"]:
                shapes[layer + norm] = [dim]
            for norm in ["q_norm", "k_norm"]:
                shapes[f"{layer}self_attn.{norm}"] = [16]
            for i in range(experts):
                for name in ["gate", "up", "down"]:
                    shapes[f"{layer}mlp.experts.{i}.{name}_proj"] = [dim, hidden]
        draw = random.Random(7)
        tensors = {}
        for name, shape in shapes.items():
            values = [draw.gauss(0, 0.2) for _ in range(math.prod(shape))]
            packed = struct.pack(f"<{len(values)}f", *values)
            halves = b"".join(packed[i : i + 2] for i in range(2, len(packed), 4))
            tensors[name + ".weight"] = ("BF16", shape, halves)
        write_safetensors(source / "model.safetensors", tensors)
        (source / "config.json").write_text(json.dumps(config))
        (source / "tokenizer.json").write_text(json.dumps(tokenizer_with_merges()))
        out = self.folder / "mixture.gguf"
        self.convert(source, "--gguf-path", out, "--type", "bf16")
        self.assertLess(self.distance(source, out), 1e-3)
        config["norm_topk_prob"] = False
        (source / "config.json").write_text(json.dumps(config))
        self.refuse("convert", "--hf-path", source, "--gguf-path", out, "--force",
                    saying="normalization of experts' weights")  # fmt: skip
        # llama.cpp has one limit of the gate for all files.
        config = json.loads((GOLDENS / "gpt_oss_mxfp4/config.json").read_text())
        config["swiglu_limit"] = 5.0
        limited = self.source("gpt_oss_mxfp4")
        (limited / "config.json").write_text(json.dumps(config))
        self.refuse("convert", "--hf-path", limited, "--gguf-path", out, "--force",
                    saying="limit of the gate 5 (7 when read)")  # fmt: skip

    def ggml_blocks(self, source, layer, part, first, step):
        """Rows of a stack of experts as GGML's mxfp4: a scale, then values 0 to 15
        in the low halves of 16 bytes and 16 to 31 in the high ones."""
        tensors = read_safetensors(source / "model.safetensors")
        name = f"model.layers.{layer}.mlp.experts.{part}_proj"
        _, shape, codes = tensors[name + "_blocks"]
        scales = tensors[name + "_scales"][2]
        groups = shape[2]
        out = b""
        for row in range(first, shape[0] * shape[1], step):
            for group in range(row * groups, (row + 1) * groups):
                pairs = codes[16 * group : 16 * group + 16]
                values = [half for byte in pairs for half in (byte & 15, byte >> 4)]
                out += scales[group : group + 1]
                out += bytes(a | b << 4 for a, b in zip(values[:16], values[16:]))
        return out

    def test_quantizing_leaves_four_bit_experts_as_they_are(self):
        source = self.source("gpt_oss_mxfp4")
        out = self.folder / "quantized"
        self.succeed("quantize", source, "--out", out, "--quality-tokens", "0",
                     "--bits", "8", "--group-size", "32")  # fmt: skip
        converted = self.folder / "converted"
        self.convert(source, "--mlx-path", converted)
        before = read_safetensors(converted / "model.safetensors")
        after = read_safetensors(out / "model.safetensors")
        for name in before:
            if ".experts." in name:
                self.assertEqual(before[name], after[name], name)
        self.assertEqual(after["model.layers.0.self_attn.q_proj.weight"][0], "U32")
        self.assertLess(self.distance(source, out), 0.2)

    def test_factors_of_the_config_go_into_the_weights(self):
        source = self.folder / "falcon"
        shutil.copytree(GOLDENS / "falcon_h1_factors", source)
        out = self.folder / "falcon-mlx"
        error = self.refuse("convert", "--hf-path", source, "--mlx-path", out)
        self.assertIn("attention_in_multiplier", error)
        config = json.loads((source / "config.json").read_text())
        config["attention_in_multiplier"] = 1.0
        (source / "config.json").write_text(json.dumps(config))
        self.convert(source, "--mlx-path", out)
        self.assertLess(self.distance(source, out), 1e-3)

    def test_rows_that_small_floats_are_not_packed_from_stay_floats(self):
        out = self.folder / "narrow-nvfp4"
        # Rows of 48 values in an odd number, as MLX packs none.
        source = self.folder / "odd"
        shutil.copytree(GOLDENS / "arcee", source)
        config = json.loads((source / "config.json").read_text())
        self.assertEqual(config["hidden_size"] % 32, 16)
        weights = source / "model.safetensors"
        tensors = read_safetensors(weights)
        for name in ["model.embed_tokens.weight", "lm_head.weight"]:
            dtype, (rows, cols), data = tensors[name]
            tensors[name] = (dtype, [rows - 1, cols], data[: 2 * (rows - 1) * cols])
        write_safetensors(weights, tensors)
        config["vocab_size"] = rows - 1
        (source / "config.json").write_text(json.dumps(config))
        self.refuse("convert", "--hf-path", source, "--mlx-path", out, "-q",
                    "--q-mode", "nvfp4", saying="Nothing can be quantized")  # fmt: skip

    def test_ones_of_norms_are_added_in_the_type_that_is_written(self):
        out = self.folder / "qwen-floats"
        self.convert(GOLDENS / "qwen3_5_text", "--mlx-path", out, "--dtype", "float32")
        self.assertLess(self.distance(GOLDENS / "qwen3_5_text", out), 1e-3)

    def test_quantized_folders_run_and_come_near(self):
        out = self.folder / "q8"
        text = self.convert(
            self.source("llama"), "--mlx-path", out, "-q", "--q-bits", "8"
        )
        self.assertIn("bits per weight", text)
        self.assertLess(self.mean_distance(LLAMA, out), 0.05)
        answer = self.succeed("generate", out, "Hello", "-n", "4", "--quiet")
        self.assertTrue(answer)

    def test_gguf_files_have_the_logits_of_their_source(self):
        for name in [
            "llama",
            "llama_bias_tied",
            "llama_rope_linear",
            "llama_rope_llama3",
            "llama_rope_yarn",
            "mistral_window",
            "qwen2",
            "qwen3",
            "gemma",
            "gemma2",
            "gemma3_text",
            "phi3",
            "phi3_longrope",
            "smollm3",
            "granite",
            "olmo2",
            # Stacks, shared experts, a latent's two matrices, packed and split ones.
            "mixtral",
            "granitemoe",
            "granitemoehybrid_attention",
            "glm4_moe",
            "minimax_m2",
            "deepseek_v3",
            "kimi_k2",
            "exaone4_full",
            "glm4",
            "gpt_neox",
            "hunyuan_v1_dense",
            "olmo",
            "phi",
            "stablelm_parallel",
            "starcoder2",
            # Scalars of activations as metadata, heads of two sizes, shared keys.
            "apertus",
            "gemma4_text",
            "gemma4_experts",
            "gemma4_keys_are_values",
            # Recurrent layers: decays, rows by part, value heads in turns.
            "falcon_h1_gate_first",
            "granitemoehybrid",
            "lfm2",
            "mamba2",
            "mamba2_mlx",
            "nemotron_h",
            "qwen3_next_equal_dims",
            "qwen3_5_equal_dims",
        ]:
            with self.subTest(name):
                out = self.folder / f"{name}.gguf"
                self.convert(self.source(name), "--gguf-path", out, "--type", "f32")
                # Frequencies pass through float32 factors.
                self.assertLess(self.distance(self.source(name), out), 1e-3)

    def test_what_llama_cpp_would_compute_otherwise_is_no_gguf_file(self):
        for name, saying in [
            ("deepseek_v2", "queries straight from x"),
            ("olmoe", "bound of queries"),
            ("cohere", "norms of queries"),
            ("glm", "heads of 16 dims"),
            ("olmo3", "another base of positions in windows"),
            ("qwen2_moe", "windows"),
            ("helium", "llama.cpp has no architecture for it"),
            ("bitnet", "a head that isn't the embedding"),
            ("falcon_h1", "shortest step"),
            ("mamba2_options", "biases of a recurrence"),
            ("lfm2_old_style", "biases of a recurrence"),
            ("qwen3_next", "keys of 12 dims and values of 8"),
            ("qwen3_next_dense", "keys of 12 dims and values of 8"),
            ("gemma3n_text", "a low-rank twin of rank 4"),
            ("exaone4", "windows in a model of 3 layers"),
        ]:
            with self.subTest(name):
                out = self.folder / f"{name}.gguf"
                self.refuse("convert", "--hf-path", self.source(name),
                            "--gguf-path", out, saying=saying)  # fmt: skip
                self.assertFalse(out.exists())

    def changed(self, name, **config):
        """A golden's source whose config says more."""
        folder = self.folder / f"changed-{name}"
        shutil.copytree(self.source(name), folder, dirs_exist_ok=True)
        stored = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**stored, **config}))
        return folder

    def keep(self, folder, is_kept):
        weights = folder / "model.safetensors"
        tensors = read_safetensors(weights)
        kept = {name: value for name, value in tensors.items() if is_kept(name)}
        self.assertLess(len(kept), len(tensors))
        write_safetensors(weights, kept)

    def test_a_config_that_llama_cpp_would_compute_otherwise_is_no_gguf_file(self):
        theta = {"rope_theta": 10000.0, "factor": 4.0}
        yarn = {**theta, "rope_type": "yarn", "beta_fast": 32, "beta_slow": 1,
                "original_max_position_embeddings": 16}  # fmt: skip
        linear = {**theta, "rope_type": "linear"}
        for name, config, saying in [
            ("deepseek_v3", {"rope_parameters": linear}, "attention scale"),
            ("deepseek_v3", {"rope_parameters": yarn}, "attention scale"),
            ("dots1", {}, "2 key-value heads for 4 heads"),
            ("deepseek_v3", {"n_shared_experts": 0}, "no shared experts"),
        ]:
            with self.subTest((name, config)):
                config.setdefault("rope_scaling", None)
                source = self.changed(name, **config)
                if config.get("n_shared_experts") == 0:
                    self.keep(source, lambda tensor: "shared" not in tensor)
                out = self.folder / "refused.gguf"
                self.refuse("convert", "--hf-path", source, "--gguf-path", out,
                            saying=saying)  # fmt: skip

    def test_what_llama_cpp_asks_for_is_written_where_a_model_has_none(self):
        for name, config in [
            ("starcoder2", {"use_bias": False}),
            ("gpt_neox", {"attention_bias": False}),
        ]:
            with self.subTest(name):
                source = self.changed(name, **config)
                self.keep(source, lambda tensor: not tensor.endswith(".bias")
                          or "norm" in tensor
                          or (name == "gpt_neox" and "attention." not in tensor))  # fmt: skip
                out = self.folder / f"{name}-zeros.gguf"
                self.convert(source, "--gguf-path", out, "--type", "f32")
                self.assertTrue(b"blk.0.attn_output.bias" in out.read_bytes())
                self.assertLess(self.distance(source, out), 1e-3)

    def test_goldens_without_what_llama_cpp_lacks_become_gguf_files(self):
        for name, config, kept in [
            ("lfm2_moe", {"conv_bias": False, "routed_scaling_factor": 1.0},
             lambda n: not n.endswith((".conv.bias", "_proj.bias"))),
            ("lfm2_moe", {"conv_bias": False, "routed_scaling_factor": 1.0,
                          "use_expert_bias": False},
             lambda n: not n.endswith("bias")),
            ("nemotron_h_experts", {"use_bias": False, "mlp_bias": False},
             lambda n: not n.endswith("_proj.bias")),
            ("falcon_h1_factors", {"mamba_proj_bias": False, "projectors_bias": False,
                                   "attention_bias": False,
                                   "mamba_norm_before_gate": False},
             lambda n: not ("_proj.bias" in n and "feed_forward" not in n)),
            ("falcon_h1_factors", {"mamba_proj_bias": False, "projectors_bias": False,
                                   "attention_bias": False, "tie_word_embeddings": True,
                                   "mamba_norm_before_gate": False},
             lambda n: not ("_proj.bias" in n and "feed_forward" not in n
                            or "lm_head" in n)),
            ("granitemoehybrid_dense", {"mamba_proj_bias": False},
             lambda n: not ("mamba" in n and n.endswith("_proj.bias"))),
            ("bitnet", {"hidden_act": "silu", "tie_word_embeddings": True},
             lambda n: "lm_head" not in n),
        ]:  # fmt: skip
            with self.subTest((name, config)):
                shutil.rmtree(self.folder / f"changed-{name}", ignore_errors=True)
                source = self.changed(name, **config)
                self.keep(source, kept)
                out = self.folder / "lacking.gguf"
                self.convert(source, "--gguf-path", out, "--type", "f32", "--force")
                self.assertLess(self.distance(source, out), 1e-3)
                shutil.rmtree(self.folder / "lacking-back", ignore_errors=True)
                self.come_back([out])

    def test_another_epsilon_of_a_latent_is_told(self):
        source = self.changed("deepseek_v3", rms_norm_eps=1e-5, rope_scaling=None)
        out = self.folder / "epsilon.gguf"
        done = self.run_program("convert", "--hf-path", source, "--gguf-path", out,
                                "--type", "f32")  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("one epsilon for all norms", done.stderr.decode())
        self.assertLess(self.distance(source, out), 1e-3)

    def test_dense_layers_alone_are_a_file_of_deepseek_too(self):
        source = self.changed("deepseek_v3", first_k_dense_replace=1,
                              num_hidden_layers=1)  # fmt: skip
        self.keep(source, lambda n: not re.match(r"model.layers.[1-9]", n))
        out = self.folder / "dense.gguf"
        self.convert(source, "--gguf-path", out, "--type", "f32")
        for key in [b"expert_shared_count", b"expert_feed_forward_length"]:
            self.assertTrue(key in out.read_bytes())
        self.assertLess(self.distance(source, out), 1e-3)

    def test_an_activation_that_llama_cpp_has_not_is_named(self):
        source = self.changed("bitnet", tie_word_embeddings=True)
        self.keep(source, lambda n: "lm_head" not in n)
        self.refuse("convert", "--hf-path", source, "--gguf-path",
                    self.folder / "relu2.gguf",
                    saying="another activation than its files have, which llama.cpp")  # fmt: skip

    def test_a_yarn_of_experts_comes_back(self):
        yarn = {"rope_type": "yarn", "factor": 4.0, "beta_fast": 32, "beta_slow": 1,
                "original_max_position_embeddings": 64}  # fmt: skip
        source = self.changed("mixtral", rope_scaling=yarn)
        file = self.folder / "yarn.gguf"
        self.convert(source, "--gguf-path", file, "--type", "f32")
        self.come_back([file])
        config = json.loads((self.folder / "yarn-back/config.json").read_text())
        self.assertEqual(config["model_type"], "mixtral")
        self.assertEqual(config["rope_scaling"]["factor"], 4.0)

    def test_layers_by_whose_number_llama_cpp_takes_windows_have_them(self):
        source = self.changed("exaone4_full", num_hidden_layers=64,
                              layer_types=["full_attention"] * 64)  # fmt: skip
        weights = source / "model.safetensors"
        tensors = read_safetensors(weights)
        first = "model.layers.0."
        for name in [n for n in tensors if n.startswith(first)]:
            for i in range(1, 64):
                copy = name.replace(first, f"model.layers.{i}.")
                tensors[copy] = tensors[name]
        write_safetensors(weights, tensors)
        out = self.folder / "64.gguf"
        self.refuse("convert", "--hf-path", source, "--gguf-path", out,
                    saying="full attention in all of 64 layers")  # fmt: skip

    def test_a_beta_that_a_config_leaves_open_is_no_key(self):
        for beta in [None, 0]:
            config = json.loads((GOLDENS / "llama_rope_yarn/config.json").read_text())
            place = next(
                key for key in ["rope_parameters", "rope_scaling"] if config.get(key)
            )
            scaling = {**config[place], "beta_fast": beta}
            source = self.changed("llama_rope_yarn", **{place: scaling})
            out = self.folder / "beta.gguf"
            done = self.run_program("convert", "--hf-path", source,
                                    "--gguf-path", out, "--force")  # fmt: skip
            if done.returncode == 0:
                self.assertNotIn(b"yarn_beta_fast", out.read_bytes())
            else:
                self.assertIn(b"beta_fast", done.stderr)

    def test_a_window_that_llama_cpp_passes_over_is_told(self):
        out = self.folder / "window.gguf"
        for name, window, context in [("mistral_window", 8, 512), ("llama", 0, 0)]:
            source = self.source(name)
            done = self.run_program("convert", "--hf-path", source,
                                    "--gguf-path", out, "--force")  # fmt: skip
            self.assertEqual(done.returncode, 0, done.stderr)
            told = f"is this model up to {window} tokens, not to {context}"
            self.assertEqual(told in done.stderr.decode(), name != "llama")

    def test_a_mixture_that_llama_cpp_computes_otherwise_is_written_and_told(self):
        out = self.folder / "phimoe.gguf"
        # Files have one magnitude for all lengths, and no windows.
        source = self.changed("phimoe", sliding_window=None, router_jitter_noise=0.01,
                              rope_parameters={"rope_type": "default", "rope_theta": 1e4})  # fmt: skip
        result = self.run_program(
            "convert", "--hf-path", source, "--gguf-path", out, "--type", "f32"
        )
        self.assertEqual(result.returncode, 0, result.stderr.decode())
        self.assertIn("its sparsemixer as a softmax", result.stderr.decode())
        self.assertTrue(b"output.bias" in out.read_bytes())
        self.assertLess(self.distance(source, out), 1e-3)

    def test_what_mlx_lm_has_not_is_told(self):
        for name, saying in [
            ("olmoe", "in olmoe: a bound of queries, keys and values."),
            ("dots1", "attention windows"),
            ("gemma2", "in gemma2: attention windows."),
            ("gpt_oss", "another swiglu_limit than 7"),
            ("phimoe", "the sparsemixer"),
            ("mamba2", "in mamba2: norms by group in a recurrence."),
            ("glm", "in glm: partial rotation"),
            ("llama_rope_longrope", "longrope's factors for short texts"),
            ("cohere_plain", "a head that isn't the embedding"),
            ("qwen2_moe", "dense layers among those with experts"),
            ("arcee", "has no such family (arcee)"),
            ("ministral_window", "has no such family (ministral)"),
            ("bitnet", "takes packed ternary weights only"),
            ("olmo", "this family's older form only"),
            ("qwen3_next", "rounds them to 8 bits"),
        ]:
            with self.subTest(name):
                told = self.told_of(name)
                self.assertIn(saying, told)
                self.assertIn(
                    "Roofline reads" if "rounds" not in saying else "--dtype float32", told
                )
        for name in ["llama_rope_yarn", "gemma3_text", "smollm3", "qwen3_5_mlx"]:
            with self.subTest(name):
                self.assertEqual(self.told_of(name), "")

    def told_of(self, name):
        result = self.run_program(
            "convert", "--hf-path", GOLDENS / name,
            "--mlx-path", self.folder / f"told-{name}",
        )  # fmt: skip
        self.assertEqual(result.returncode, 0, result.stderr.decode())
        return result.stderr.decode()

    def test_fields_that_mlx_lm_asks_for_are_added(self):
        source = self.changed("granite")
        config = json.loads((source / "config.json").read_text())
        left_out = {"residual_multiplier", "rms_norm_eps", "mlp_bias", "attention_bias"}
        for field in left_out:
            config.pop(field, None)
        (source / "config.json").write_text(json.dumps(config))
        out = self.folder / "fields"
        self.convert(source, "--mlx-path", out)
        written = json.loads((out / "config.json").read_text())
        self.assertLessEqual(left_out, set(written))
        self.assertLess(self.distance(source, out), 1e-5)

    def test_experts_names_of_today_become_those_of_mlx(self):
        for name, before, now in [
            ("mixtral", ".block_sparse_moe.", ".mlp."),
            ("minimax_m2", ".block_sparse_moe.", ".mlp."),
            ("granitemoe", ".router.layer.weight", ".router.weight"),
        ]:
            with self.subTest(name):
                source = self.changed(name)
                tensors = read_safetensors(source / "model.safetensors")
                write_safetensors(
                    source / "model.safetensors",
                    {each.replace(before, now): value for each, value in tensors.items()},
                )
                out = self.folder / f"names-{name}"
                self.convert(source, "--mlx-path", out)
                names = read_safetensors(out / "model.safetensors")
                self.assertTrue(any(before in each for each in names))
                self.assertFalse(any(now in each for each in names))

    def test_gguf_files_come_back_as_they_were(self):
        for name in [
            "llama_bias_tied",
            "llama_rope_linear",
            "llama_rope_yarn",
            "mistral_window",
            "qwen2",
            "qwen3",
            "gemma",
            "gemma2",
            "gemma3_text",
            "phi3",
            "phi3_longrope",
            "smollm3",
            "granite",
            "olmo2",
            "hunyuan_v1_dense",
            "apertus",
            "cohere2",
            "deepseek_v3",
            "glm4",
            "kimi_k2",
            "lfm2",
            "llama_rope_llama3",
            "mamba2",
            "minimax_m2",
            "nemotron_h",
            "olmo",
            "phi",
            "qwen3_5_equal_dims",
            "qwen3_next_equal_dims",
            "stablelm",
            "starcoder2",
        ]:
            with self.subTest(name):
                file = self.folder / f"{name}.gguf"
                back = self.folder / f"{name}-back"
                self.convert(self.source(name), "--gguf-path", file, "--type", "f32")
                self.convert(file, "--mlx-path", back, "--dtype", "bf16")
                same = self.folder / f"{name}-same"
                self.convert(self.source(name), "--mlx-path", same, "--dtype", "bf16")
                before = read_safetensors(same / "model.safetensors")
                after = read_safetensors(back / "model.safetensors")
                before.pop("lm_head.weight", None)
                after.pop("lm_head.weight", None)
                self.assertEqual(sorted(before), sorted(after))
                for tensor, stored in before.items():
                    if "norm" in tensor and ("gemma" in name or "qwen3_" in name):
                        continue  # 1 + w in the file, which rounds w
                    if tensor.endswith(("A_log", "correction_bias")):
                        continue  # in float32, as the file has them
                    self.assertEqual(stored, after[tensor], tensor)
                # The norms' weights are stored with their one, in bf16.
                bound = 0.2 if "qwen3_" in name else 1e-3
                self.assertLess(self.distance(self.source(name), back), bound)
                text = "hello, the 3333 Übung\n  <s> ll</s>"
                ids = [
                    self.succeed("tokenize", model, "--ids", input=text)
                    for model in [self.source(name), back]
                ]
                self.assertEqual(ids[0], ids[1])

    def test_the_bundled_file_becomes_a_folder_that_says_the_same(self):
        out = self.folder / "smollm2"
        self.convert(self.bundled(), "--mlx-path", out)
        self.assertEqual(json.loads((out / "config.json").read_text())["model_type"], "llama")
        text = "Hello, y'all! 3333 café 你好 \U0001f600\n\n  x = (a+b)*c;<|im_end|>"
        ids = [
            self.succeed("tokenize", model, "--ids", input=text)
            for model in [self.bundled(), out]
        ]
        self.assertEqual(ids[0], ids[1])
        answers = [
            self.succeed("generate", model, "The capital of France is",
                         "-n", "8", "--temp", "0", "--quiet", "--exact")
            for model in [self.bundled(), out]
        ]  # fmt: skip
        self.assertEqual(answers[0], answers[1])

    def test_files_of_every_architecture_become_folders(self):
        files = sorted((GOLDENS.parent / "data/gguf/families").glob("*.gguf"))
        self.assertGreater(len(files), 30)
        self.come_back(files)

    def test_folders_made_of_gguf_files_name_their_tensors_as_others_do(self):
        files = GOLDENS.parent / "data/gguf/families"
        for golden, file in [("gemma3n_text", files / "gemma3n.gguf"),
                             ("gemma4_experts", self.folder / "experts.gguf")]:  # fmt: skip
            with self.subTest(golden):
                if not file.exists():
                    self.convert(self.source(golden), "--gguf-path", file, "--type", "f32")
                names = []
                for kind, model in [("same", GOLDENS / golden), ("back", file)]:
                    out = self.folder / f"{golden}-{kind}"
                    self.convert(model, "--mlx-path", out)
                    stored = read_safetensors(out / "model.safetensors")
                    # The file has more streams than the golden.
                    names.append({re.sub(r"\d+", "*", name) for name in stored})
                self.assertEqual(*names)

    def test_folders_made_of_gguf_files_have_the_fields_that_mlx_lm_asks_for(self):
        # llama.cpp knows no such biases.
        model = self.source("nemotron_h_experts")
        config = json.loads((model / "config.json").read_text())
        config.update(use_bias=False, mamba_proj_bias=False, mlp_bias=False)
        (model / "config.json").write_text(json.dumps(config))
        stored = read_safetensors(model / "model.safetensors")
        kept = ("conv1d.bias", "dt_bias", "correction_bias", "weight", "A_log", "D")
        stored = {name: each for name, each in stored.items() if name.endswith(kept)}
        write_safetensors(model / "model.safetensors", stored)
        experts = self.folder / "experts.gguf"
        self.convert(model, "--gguf-path", experts, "--type", "f32")
        wanted = {
            GOLDENS.parent / "data/gguf/families/gemma3n.gguf": {
                "altup_coef_clip": 120.0,
                "altup_correct_scale": True,
            },
            experts: {"n_shared_experts": 1},
        }
        for file, fields in wanted.items():
            with self.subTest(file.name):
                out = self.folder / file.stem
                self.convert(file, "--mlx-path", out)
                config = json.loads((out / "config.json").read_text())
                config = config.get("text_config", config)
                self.assertEqual({key: config[key] for key in fields}, fields)

    def test_gguf_files_of_float32_stay_so(self):
        for kind, dtype in [("f32", "F32"), ("bf16", "BF16"), ("f16", "F16"),
                            ("q8_0", "F16")]:  # fmt: skip
            with self.subTest(kind):
                file, out = self.folder / f"{kind}.gguf", self.folder / kind
                self.convert(self.source("llama"), "--gguf-path", file, "--type", kind)
                self.convert(file, "--mlx-path", out)
                stored = read_safetensors(out / "model.safetensors")
                self.assertEqual({tensor[0] for tensor in stored.values()}, {dtype})

    def test_outer_fields_of_a_multimodal_config_stand_for_inner_ones(self):
        config = json.loads((GOLDENS / "gemma3_multimodal/config.json").read_text())
        config["tie_word_embeddings"] = True
        config["vocab_size"] = config["text_config"].pop("vocab_size")
        for inner in [False, None]:
            with self.subTest(inner):
                config["text_config"]["tie_word_embeddings"] = inner
                model = self.folder / f"tied-{inner}"
                model.mkdir()
                shutil.copy(GOLDENS / "gemma3_multimodal/model.safetensors", model)
                (model / "config.json").write_text(json.dumps(config))
                self.assertEqual(self.distance(GOLDENS / "gemma3_multimodal", model), 0)
                out = self.folder / f"tied-{inner}-mlx"
                self.convert(model, "--mlx-path", out)
                written = json.loads((out / "config.json").read_text())
                self.assertTrue(written["text_config"]["tie_word_embeddings"])
                self.assertEqual(written["text_config"]["vocab_size"], config["vocab_size"])

    def test_mixtures_in_gguf_files_come_back_as_folders(self):
        files = []
        for name in ["mixtral", "granitemoe", "glm4_moe", "gpt_oss_mxfp4",
                     "granitemoehybrid", "gpt_neox"]:  # fmt: skip
            files.append(self.folder / f"{name}.gguf")
            self.convert(self.source(name), "--gguf-path", files[-1], "--type", "f32")
        self.come_back(files)

    def come_back(self, files):
        for file in files:
            with self.subTest(file.name):
                back = self.folder / f"{file.stem}-back"
                self.convert(file, "--mlx-path", back, "--dtype", "float32")
                ids = json.dumps([[5, 7, 33, 40, 12, 9]])  # the files have 48 tokens
                self.assertLess(self.distance(file, back, ids), 1e-3)

    def test_a_gguf_file_quantizes_as_its_folder_does(self):
        # Rows of heads in pairs, also where layers have no positions; norms
        # stored as 1 + w; packed matrices.
        for name in ["llama", "gemma", "phi3", "smollm3"]:
            file = self.folder / f"{name}.gguf"
            self.convert(self.source(name), "--gguf-path", file, "--type", "f32")
            for method in ["plain", "awq"]:
                with self.subTest(name, method=method):
                    outs = []
                    for kind, model in [("a", self.source(name)), ("b", file)]:
                        outs.append(self.folder / f"{name}-{method}-{kind}")
                        self.succeed(
                            "quantize", model, outs[-1], "--group-size", "32",
                            "--dtype", "float32", "--method", method,
                            "--calibration-tokens", "64", "--window", "32",
                            "--quality-tokens", "0",
                        )
                    self.assertGreater(self.distance(self.source(name), outs[0]), 0.05)
                    self.assertLess(self.mean_distance(*outs), 0.01)

    def test_rows_that_a_file_has_in_another_order_are_quantized_from_a_folder(self):
        file = self.folder / "neox.gguf"
        self.convert(self.source("gpt_neox"), "--gguf-path", file, "--type", "f32")
        out = self.folder / "neox-q8"
        self.refuse("quantize", file, out, "--quality-tokens", "0",
                    saying=["in another order", "roofline convert"])  # fmt: skip
        self.assertFalse(out.exists())

    def test_every_gguf_type_comes_near(self):
        # Shares of the logits' deviation; another model's would be 1.4.
        bounds = {"bf16": 1e-5, "f16": 1e-3, "q8_0": 0.05}
        bounds.update({"q4_1": 0.5, "q4_0": 0.5, "q4_k": 0.5})
        for kind, bound in bounds.items():
            with self.subTest(kind):
                out = self.folder / f"{kind}.gguf"
                self.convert(self.source("llama"), "--gguf-path", out, "--type", kind)
                self.assertLess(self.mean_distance(LLAMA, out), bound)

    def test_gguf_carries_the_tokenizer_and_the_template(self):
        source = self.source("llama")
        out = self.folder / "model.gguf"
        self.convert(source, "--gguf-path", out, "--type", "q8_0")
        text = "hello, the 3333 Übung\n  <s> ll</s>"
        ids = [
            self.succeed("tokenize", model, "--ids", input=text)
            for model in [source, out]
        ]
        self.assertEqual(ids[0], ids[1])
        info = json.loads(self.succeed("inspect", out, "--json"))
        self.assertTrue(info["has_chat_template"])
        self.assertEqual(info["spec"]["eos_tokens"], [2])

    def test_a_target_is_replaced_only_when_asked_for(self):
        source = self.source("llama")
        for flag, target in [
            ("--mlx-path", self.folder / "out"),
            ("--gguf-path", self.folder / "out.gguf"),
        ]:
            self.convert(source, flag, target)
            self.refuse(
                "convert", "--hf-path", source, flag, target,
                saying=["exists already", "--force"],
            )  # fmt: skip
            self.convert(source, flag, target, "--force")

    def test_a_full_disk_is_one_sentence_and_loses_nothing(self):
        source = self.source("llama")
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        for flag, target in [
            ("--mlx-path", self.folder / "out"),
            ("--gguf-path", self.folder / "out.gguf"),
        ]:
            before = sorted(self.folder.iterdir())
            self.refuse(
                "convert", "--hf-path", source, flag, target,
                saying=["disk is full", "Nothing that was there before"],
                preexec_fn=limit,
            )  # fmt: skip
            self.assertEqual(sorted(self.folder.iterdir()), before)

    def test_a_kill_leaves_nothing_at_the_target(self):
        # A vocabulary large enough to be at work for a while.
        source = self.folder / "large"
        source.mkdir()
        rows = 400_000
        config = json.loads((LLAMA / "config.json").read_text())
        config.update(vocab_size=rows, tie_word_embeddings=True)
        (source / "config.json").write_text(json.dumps(config))
        tensors = read_safetensors(LLAMA / "model.safetensors")
        tensors.pop("lm_head.weight")
        embedding = ("BF16", [rows, 64], bytes(rows * 128))
        tensors["model.embed_tokens.weight"] = embedding
        write_safetensors(source / "model.safetensors", tensors)
        target = self.folder / "out"
        process = self.start("convert", "--hf-path", source, "--mlx-path", target, "-q")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if list(self.folder.glob(".out.*")):
                break
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed = process.returncode == -signal.SIGKILL
        self.assertNotEqual(target.exists(), killed)
        self.convert(source, "--mlx-path", target, "--force")
        self.assertEqual(list(self.folder.glob(".out.*")), [])

    def test_mistakes_are_told_with_the_way_out(self):
        source = self.source("llama")
        out = self.folder / "out"
        for arguments, saying in [
            (["--mlx-path", out, "--q-bits", "4"], "-q"),
            (["--mlx-path", out, "-q", "--q-mode", "mxpf4"], "mxfp4"),
            (["--mlx-path", out, "-q", "--q-bits", "7"], "7 bits"),
            (["--mlx-path", out, "--dtype", "f8"], "bfloat16"),
            (["--gguf-path", out, "--type", "q4_l"], "q4_k"),
            (["--mlx-path", out, "--gguf-path", out], "one of them"),
            (["--mlx-path", out, "--type", "q4_k"], "--gguf-path"),
            (["--gguf-path", out, "-q"], "--type"),
            (["--gguf-path", self.folder], "is a folder"),
            (["--mlx-path", ""], "is empty"),
        ]:
            with self.subTest(saying):
                self.refuse("convert", "--hf-path", source, *arguments, saying=saying)
        self.refuse("convert", "--hf-path", "", "--mlx-path", out, saying="--hf-path is empty")
        self.assertFalse(out.exists())
        self.refuse("convert", "--mlx-path", out, saying="--hf-path")
        self.refuse("convert", "--hf-path", "org/none", saying="org/none")

    def test_what_is_no_checkpoint_is_refused_with_the_reason(self):
        pickled = self.folder / "pickled"
        pickled.mkdir()
        shutil.copy(LLAMA / "config.json", pickled)
        (pickled / "pytorch_model.bin").write_bytes(b"\x80\x02}")
        for flag, target in [("--mlx-path", "o"), ("--gguf-path", "o.gguf")]:
            self.refuse(
                "convert", "--hf-path", pickled, flag, self.folder / target,
                saying=["pickle", "safetensors"],
            )  # fmt: skip
        # A gemma2 file has no place for this model's scale of scores.
        self.refuse(
            "convert", "--hf-path", GOLDENS / "gemma2",
            "--gguf-path", self.folder / "o.gguf",
            saying=["attention scale 0.25", "--mlx-path"],
        )  # fmt: skip
        # GGUF carries its tokenizer: without one there is no file.
        self.refuse(
            "convert", "--hf-path", LLAMA, "--gguf-path", self.folder / "o.gguf",
            saying="no tokenizer",
        )  # fmt: skip


if __name__ == "__main__":
    unittest.main()
