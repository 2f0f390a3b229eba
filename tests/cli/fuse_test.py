"""roofline fuse, from outside: bases in folders and GGUF files, held against
the logits that PyTorch and peft gave with the same adapter."""

import json
import math
import shutil
import statistics
import struct
import unittest

from convert_test import tokenizer_with_merges
from program import GOLDENS, LLAMA, SOURCE, Program, read_safetensors

GOLDEN = SOURCE / "tests/train/adapter_golden"
F32, BF16, Q4_0, Q8_0, Q6_K = 0, 30, 2, 8, 14  # GGML's numbers
CHANGED = [
    f"blk.{layer}.{part}.weight"
    for layer in range(3)
    for part in [
        "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down",
    ]
]  # fmt: skip


def floats(data):
    return struct.unpack(f"<{len(data) // 4}f", data)


def gguf_tensors(path):
    """{name: (type, shape, bytes)}, and the metadata's bytes."""
    data = path.read_bytes()
    at = 24
    tensors, pairs = struct.unpack_from("<QQ", data, 8)

    def number(form):
        nonlocal at
        (value,) = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize(form)
        return value

    def text():
        nonlocal at
        size = number("Q")
        at += size
        return data[at - size : at].decode()

    def value(kind):
        nonlocal at
        if kind == 8:
            text()
        elif kind == 9:
            inner, count = number("I"), number("Q")
            for _ in range(count):
                value(inner)
        else:
            at += [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8][kind]

    for _ in range(pairs):
        text()
        value(number("I"))
    metadata = data[24:at]
    entries = []
    for _ in range(tensors):
        name = text()
        shape = [number("Q") for _ in range(number("I"))]
        entries.append((name, number("I"), shape, number("Q")))
    start = (at + 31) // 32 * 32
    out = {}
    for name, kind, shape, offset in entries:
        block, size = {F32: (1, 4), 1: (1, 2), BF16: (1, 2), Q4_0: (32, 18),
                       Q8_0: (32, 34), Q6_K: (256, 210)}[kind]  # fmt: skip
        size = math.prod(shape) // block * size
        out[name] = (kind, shape, data[start + offset : start + offset + size])
    return out, metadata


class FuseTest(Program):
    def setUp(self):
        super().setUp()
        self.source = self.folder / "llama"
        self.source.mkdir()
        for name in ["config.json", "model.safetensors"]:
            shutil.copy(LLAMA / name, self.source)
        tokenizer = json.dumps(tokenizer_with_merges())
        (self.source / "tokenizer.json").write_text(tokenizer)
        (self.source / "tokenizer_config.json").write_text(
            json.dumps({"bos_token": "<s>", "eos_token": "</s>"})
        )
        golden = read_safetensors(GOLDEN / "golden.safetensors")
        ids = struct.unpack("<12i", golden["input_ids"][2])
        self.ids = self.write("ids.json", [list(ids)])
        self.wanted = floats(golden["logits"][2])

    def logits(self, model, *more):
        out = self.folder / "logits.safetensors"
        self.succeed(
            "logits", model, "--ids", self.ids, "--exact", "--device", "cpu",
            "--out", out, *more,
        )
        ((_, _, data),) = read_safetensors(out).values()
        return floats(data)

    def worst(self, logits):
        """The largest difference to PyTorch's, in their standard deviations."""
        pairs = zip(logits, self.wanted, strict=True)
        return max(abs(a - b) for a, b in pairs) / statistics.pstdev(self.wanted)

    @staticmethod
    def apart(a, b):
        """The root of the mean square difference, in standard deviations."""
        squares = [(x - y) ** 2 for x, y in zip(a, b, strict=True)]
        return statistics.mean(squares) ** 0.5 / statistics.pstdev(a)

    def gguf(self, kind, source=None):
        out = self.folder / f"{(source or self.source).name}-{kind}.gguf"
        self.succeed(
            "convert", "--hf-path", source or self.source, "--gguf-path", out,
            "--type", kind,
        )
        return out

    def fuse(self, model, *more):
        self.succeed("fuse", model, "--adapter", GOLDEN, *more)

    def test_folders_and_gguf_files_give_what_pytorch_gives(self):
        # GGUF has the rows of q and k in another order than the adapter.
        gguf = self.gguf("f32")
        for model in [self.source, gguf]:
            self.assertGreater(self.worst(self.logits(model)), 1)
            adapted = self.logits(model, "--adapter", GOLDEN)
            self.assertLess(self.worst(adapted), 1e-4)
        fused = {}
        for name, model, arguments in [
            ("folder", self.source, ["-o"]),
            ("folder.gguf", self.source, ["--type", "f32", "--export-gguf"]),
            ("gguf.gguf", gguf, ["--export-gguf"]),
            ("gguf", gguf, ["--dequantize", "-o"]),
        ]:
            out = self.folder / f"from-{name}"
            self.fuse(model, *arguments, out)
            fused[name] = self.worst(self.logits(out))
        self.assertLess(fused["folder.gguf"], 1e-4)
        self.assertLess(fused["gguf.gguf"], 1e-4)
        # Half floats of the weights.
        self.assertLess(fused["folder"], 0.1)
        self.assertLess(fused["gguf"], 0.1)
        text = self.succeed("tokenize", self.folder / "from-gguf", "--ids", input="hell")
        again = self.succeed("tokenize", self.source, "--ids", input="hell")
        self.assertEqual(text, again)

    def test_a_trained_adapter_of_a_gguf_file_is_fused_into_it(self):
        base, out = self.gguf("q8_0"), self.folder / "adapter"
        lines = [json.dumps({"text": f"hello {i % 3}"}) for i in range(8)]
        data = self.write("train.jsonl", "\n".join(lines) + "\n")
        self.succeed(
            "train", "--model", base, "--data", data, "--output", out, "--steps", "6",
            "--learning-rate", "0.01", "--threads", "1", "--quiet",
        )
        fused = self.folder / "fused.gguf"
        self.succeed("fuse", base, "--adapter", out, "--export-gguf", fused)
        plain, adapted = self.logits(base), self.logits(base, "--adapter", out)
        self.assertGreater(self.apart(plain, adapted), 0.2)
        self.assertLess(self.apart(adapted, self.logits(fused)), 0.03)

    def test_a_gguf_files_adapter_is_one_for_its_folder(self):
        data = self.write("data.jsonl", '{"text": "hello all 3333"}\n' * 4)
        for name, module in [("llama", "self_attn.k_proj"), ("phi3", "self_attn.qkv_proj")]:
            with self.subTest(name):
                source = self.folder / f"{name}-source"
                shutil.copytree(self.source, source)
                for file in ["config.json", "model.safetensors"]:
                    shutil.copy(GOLDENS / name / file, source)
                model, adapter = self.gguf("f32", source), self.folder / f"{name}-own"
                self.succeed(
                    "train", "--model", model, "--data", data, "--output", adapter,
                    "--steps", "6", "--learning-rate", "0.03", "--quiet",
                    "--threads", "1",
                )
                tensors = read_safetensors(adapter / "adapters.safetensors")
                self.assertIn(f"model.layers.0.{module}.lora_a", tensors)
                adapted = self.logits(model, "--adapter", adapter)
                self.assertGreater(self.apart(adapted, self.logits(model)), 0.05)
                folder = self.logits(source, "--adapter", adapter)
                self.assertLess(self.apart(adapted, folder), 1e-3)

    def test_codes_are_those_of_the_fused_floats(self):
        for kind, number, bound in [("q8_0", Q8_0, 0.05), ("q4_0", Q4_0, 0.4)]:
            with self.subTest(kind):
                base = self.gguf(kind)
                fused = self.folder / f"fused-{kind}.gguf"
                self.fuse(base, "--export-gguf", fused)
                # The long way: what the codes stand for as floats, the adapter
                # added to them, and these quantized.
                plain = self.folder / f"plain-{kind}"
                self.succeed(
                    "convert", "--hf-path", base, "--mlx-path", plain,
                    "--dtype", "float32",
                )
                changed = self.folder / f"changed-{kind}"
                self.fuse(plain, "-o", changed)
                long_way = self.folder / f"long-{kind}.gguf"
                self.succeed(
                    "convert", "--hf-path", changed, "--gguf-path", long_way,
                    "--type", kind,
                )
                ours, metadata = gguf_tensors(fused)
                theirs, _ = gguf_tensors(long_way)
                before, own = gguf_tensors(base)
                self.assertEqual(metadata, own)
                self.assertEqual(ours.keys(), before.keys())
                for name, tensor in ours.items():
                    if name in CHANGED:
                        self.assertEqual(tensor[0], number)
                        self.assertNotEqual(tensor, before[name], name)
                        self.assertEqual(tensor, theirs[name], name)
                    else:
                        self.assertEqual(tensor, before[name], name)
                adapted = self.logits(base, "--adapter", GOLDEN)
                self.assertLess(self.apart(adapted, self.logits(fused)), bound)

    def test_mlx_codes_are_near_the_adapter_path(self):
        for bits, bound in [(8, 0.05), (4, 0.4)]:
            with self.subTest(bits):
                base, out = self.folder / f"mlx-{bits}", self.folder / f"fused-{bits}"
                self.succeed(
                    "convert", "--hf-path", self.source, "--mlx-path", base,
                    "-q", "--q-bits", str(bits), "--q-group-size", "32",
                )
                self.fuse(base, "-o", out)
                adapted = self.logits(base, "--adapter", GOLDEN)
                self.assertLess(self.apart(adapted, self.logits(out)), bound)

    def test_small_floats_become_what_can_be_written(self):
        base = self.folder / "mxfp4"
        self.succeed(
            "convert", "--hf-path", self.source, "--mlx-path", base,
            "-q", "--q-mode", "mxfp4",
        )
        adapted = self.logits(base, "--adapter", GOLDEN)
        self.assertGreater(self.apart(adapted, self.logits(base)), 0.2)
        folder, gguf = self.folder / "fused", self.folder / "fused.gguf"
        self.fuse(base, "-o", folder)
        self.assertLess(self.apart(adapted, self.logits(folder)), 0.02)
        self.fuse(base, "--export-gguf", gguf, "--type", "q8_0")
        self.assertLess(self.apart(adapted, self.logits(gguf)), 0.05)

    def test_a_gguf_file_of_floats_becomes_a_folder_as_it_is(self):
        for kind, dtype, bound in [("f32", "F32", 1e-3), ("bf16", "BF16", 0.1)]:
            with self.subTest(kind):
                out = self.folder / f"folder-{kind}"
                self.fuse(self.gguf(kind), "-o", out)
                tensors = read_safetensors(out / "model.safetensors")
                name = "model.layers.0.self_attn.q_proj.weight"
                self.assertEqual(tensors[name][0], dtype)
                self.assertLess(self.worst(self.logits(out)), bound)

    def test_what_makes_no_sense_is_refused(self):
        gguf, out = self.gguf("q4_0"), self.folder / "out"
        for model, arguments, saying in [
            (self.source, [], "--output"),
            (self.source, ["-o", out, "--export-gguf", "x.gguf"], "one of them"),
            (self.source, ["-o", out, "--type", "q8_0"], "--export-gguf"),
            (self.source, ["--export-gguf", out, "--type", "q9"], "q4_0"),
            (self.source, ["--export-gguf", out, "--dequantize"], "--type"),
            (gguf, ["--export-gguf", out, "--type", "q8_0"], "keep their types"),
            (gguf, ["-o", out], "--export-gguf"),
            (gguf, ["--export-gguf", gguf], "--force"),
        ]:
            with self.subTest(arguments):
                self.refuse(
                    "fuse", model, "--adapter", GOLDEN, *arguments, saying=saying
                )
        self.assertFalse(out.exists())


if __name__ == "__main__":
    unittest.main()
