"""roofline quantize from outside: what it writes, what it says, mistakes."""

import json
import unittest

from program import GOLDENS, TinyModel, read_safetensors


class Quantize(TinyModel):
    def quantize(self, *arguments, out="out"):
        text = self.succeed(
            "quantize",
            self.model,
            "--out",
            self.folder / out,
            "--json",
            "--quality-tokens",
            "300",
            *arguments,
        )
        return json.loads(text)

    def tensors(self, out="out"):
        return read_safetensors(self.folder / out / "model.safetensors")

    def config(self, out="out"):
        return json.loads((self.folder / out / "config.json").read_text())

    def test_the_result_is_a_model_of_codes_and_says_what_it_lost(self):
        said = self.quantize()
        quality = said["quality"]
        self.assertGreater(quality["kl"]["mean"], 0)
        self.assertGreater(quality["top1_agreement"], 0.3)
        self.assertGreater(said["peak_bytes"], 0)
        self.assertLess(said["bytes"], said["source_bytes"])
        self.assertEqual(self.config()["quantization"]["bits"], 4)
        self.assertIn("quantization_config", self.config())
        tensors = self.tensors()
        name = "model.layers.0.self_attn.q_proj"
        dtype, shape, _ = tensors[name + ".weight"]
        self.assertEqual((dtype, shape[-1] * 8), ("U32", 64))
        self.assertEqual(tensors[name + ".scales"][1][-1], 1)
        self.assertIn(name + ".biases", tensors)
        self.assertNotIn("model.norm.scales", tensors)
        found = json.loads(
            self.succeed("evaluate", self.folder / "out", "--json", "--limit", "300",
                         "--reference", self.model, "--exact")
        )
        self.assertAlmostEqual(
            found["quality"]["kl"]["mean"],
            quality["kl"]["mean"],
            delta=0.01 * quality["kl"]["mean"],
        )
        self.assertAlmostEqual(
            found["size"]["bits_per_weight"], said["bits_per_weight"]
        )

    def test_calibration_loses_less(self):
        plain = self.quantize("--bits", "3")
        calibrated = self.quantize(
            "--bits", "3", "--method", "gptq", "--calibration-tokens", "2048",
            "--window", "64", out="gptq",
        )
        self.assertEqual(plain["bytes"], calibrated["bytes"])
        self.assertLess(
            calibrated["quality"]["kl"]["mean"], plain["quality"]["kl"]["mean"]
        )

    def test_distillation_ends_no_worse_than_it_began(self):
        said = self.quantize(
            "--bits", "3", "--method", "dwq", "--dwq-start", "plain",
            "--dwq-steps", "12", "--dwq-rate", "0.01", "--dwq-tokens", "2048",
            "--dwq-batch", "256", "--window", "64", "--dwq-norms",
        )
        told = said["distillation"]
        self.assertEqual(told["steps"], 12)
        self.assertLess(told["kl_after"], told["kl_before"])
        plain = self.quantize("--bits", "3", out="plain")
        self.assertLess(said["quality"]["kl"]["mean"], plain["quality"]["kl"]["mean"])
        self.assertEqual(said["bytes"], plain["bytes"])

    def test_the_folder_can_be_the_second_argument(self):
        out = self.folder / "second"
        done = self.run_program(
            "quantize", self.model, out, "--quality-tokens", "0"
        )
        self.assertEqual(done.returncode, 0)
        self.assertIn("of memory at its peak", done.stderr.decode())
        self.assertTrue((out / "config.json").exists())
        self.refuse("quantize", self.model, out, "--out", out, saying="twice")

    def test_rules_and_recipes_give_matrices_formats_of_their_own(self):
        self.quantize("--rule", "layers.*.down=6/32", "--rule", "layers.0.*=keep")
        quantization = self.config()["quantization"]
        own = quantization["model.layers.1.mlp.down_proj"]
        self.assertEqual((own["bits"], own["group_size"]), (6, 32))
        self.assertEqual(
            self.tensors()["model.layers.0.mlp.down_proj.weight"][0], "BF16"
        )
        self.quantize("--recipe", "mixed-4-8", out="recipe")
        quantization = self.config("recipe")["quantization"]
        self.assertEqual(quantization["model.embed_tokens"]["bits"], 8)

    def test_a_budget_is_kept(self):
        said = self.quantize("--target-bpw", "5.5", "--sensitivity-tokens", "64")
        self.assertLessEqual(said["bits_per_weight"], 5.5)
        self.assertGreater(said["bits_per_weight"], 5.2)
        self.assertGreater(len(said["formats"]), 1)

    def test_a_folder_without_a_tokenizer_is_read_by_ids_drawn_by_chance(self):
        (self.model / "tokenizer.json").unlink()
        for method in ("plain", "gptq"):
            said = self.quantize("--method", method, "--calibration-tokens", "256",
                                 "--window", "32", "--force")
            self.assertTrue(said["quality"]["ids_by_chance"])
            self.assertGreater(said["quality"]["kl"]["mean"], 0)
        self.refuse("quantize", self.model, "--out", self.folder / "x",
                    "--quality-text", self.model / "config.json",
                    saying="no tokenizer")

    def test_families_whose_layers_share_are_calibrated_too(self):
        for name in ("gemma3n_text", "gemma4_text"):
            with self.subTest(name):
                kls = []
                for method in ("plain", "gptq"):
                    out = self.folder / (name + method)
                    said = json.loads(self.succeed(
                        "quantize", GOLDENS / name, out, "--json",
                        "--group-size", "32", "--method", method,
                        "--quality-tokens", "256", "--calibration-tokens", "512",
                        "--window", "32",
                    ))
                    kls.append(said["quality"]["kl"]["mean"])
                self.assertLess(kls[1], kls[0])

    def test_experts_that_lie_one_by_one_share_a_format(self):
        out = self.folder / "experts"
        self.succeed(
            "quantize", GOLDENS / "deepseek_v3", out, "--quality-tokens", "0",
            "--group-size", "32", "--rule", "layers.1.*.experts.3.gate=8/32",
        )
        quantization = json.loads((out / "config.json").read_text())["quantization"]
        for expert in (0, 3):
            one = quantization[f"model.layers.1.mlp.experts.{expert}.gate_proj"]
            self.assertEqual(one["bits"], 8)
        stack = quantization["model.layers.1.mlp.switch_mlp.gate_proj"]
        self.assertEqual(stack["bits"], 8)

    def test_an_existing_folder_stays_unless_forced(self):
        self.quantize()
        self.refuse(
            "quantize", self.model, "--out", self.folder / "out", saying="--force"
        )
        self.quantize("--force")

    def test_the_source_is_not_replaced_by_what_is_made_of_it(self):
        link = self.folder / "link"
        link.symlink_to(self.model)
        before = (self.model / "model.safetensors").read_bytes()
        for target in (self.model, link):
            self.refuse("quantize", self.model, "--out", target, "--force",
                        saying="would be lost")
            self.refuse("convert", "--hf-path", self.model, "--mlx-path", target,
                        "-q", "--force", saying="would be lost")
        self.assertEqual((self.model / "model.safetensors").read_bytes(), before)

    def test_mistakes_are_told(self):
        for arguments, said in [
            (["--bits", "7"], "7 bits"),
            (["--group-size", "48"], "groups of 48"),
            (["--mode", "int4"], "--mode"),
            (["--mode", "mxfp4", "--bits", "4"], "--mode mxfp4"),
            (["--rule", "layers.*.dwon=6"], "dwon"),
            (["--recipe", "mixed"], "mixed"),
            (["--method", "magic"], "--method magic"),
            (["--method", "dwq", "--dwq-start", "dwq"], "--dwq-start dwq"),
            (["--method", "dwq", "--dwq-steps", "0"], "too small"),
            (["--target-bpw", "1"], "target-bpw"),
            (["--dtype", "int8"], "--dtype int8"),
        ]:
            with self.subTest(arguments):
                self.refuse(
                    "quantize", self.model, "--out", self.folder / "x", *arguments,
                    saying=said,
                )
                self.assertFalse((self.folder / "x").exists())


if __name__ == "__main__":
    unittest.main()
