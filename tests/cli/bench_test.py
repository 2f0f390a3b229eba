"""roofline bench: cases, reports, other engines, and comparing two runs."""

import json
import os
import signal
import sys
import time
import unittest

from program import TinyModel

QUICK = ["-p", "16", "-n", "4", "--rounds", "2"]


class Bench(TinyModel):
    def bench(self, *arguments):
        return json.loads(
            self.succeed("bench", "--model", self.model, *QUICK, "--json", *arguments))

    def test_every_case_of_every_configuration_has_its_figure(self):
        out = self.bench("-d", "0,32", "-b", "1,2", "--quant", "none,int8")
        self.assertEqual(len(out["setups"]), 2)
        self.assertEqual(len(out["figures"]), 2 * 2 * 2 * 2)
        for figure in out["figures"]:
            self.assertEqual(len(figure["samples"]), 2)
            self.assertGreater(figure["tokens_per_second"], 0)
            self.assertGreater(figure["roof_tokens_per_second"], 0)
            self.assertGreaterEqual(figure["spread"], 0)
        self.assertGreater(out["decode_tokens_per_second"], 0)

    def test_the_bundled_model_needs_no_name(self):
        self.bundled()
        out = json.loads(self.succeed("bench", "-p", "2", "-n", "2", "--rounds", "1",
                                      "--json"))
        self.assertEqual(len(out["figures"]), 2)

    def test_parts_of_the_cache_have_their_bits_beside_floats(self):
        out = self.bench("--kv-bits", "16,8", "--v-bits", "4", "--kv-group-size", "32")
        names = [setup["name"] for setup in out["setups"]]
        self.assertEqual(len(names), 2)
        self.assertIn("KV 16 bits", names[0])
        self.assertIn("keys 8, values 4 bits (group 32)", names[1])

    def test_guessing_runs_beside_the_same_without_it(self):
        text = self.write("prompt.txt", "one two three one two three one two")
        out = self.bench("--prompt-file", text, "--prompt-lookup", "4",
                         "--draft-model", self.model)
        setups = [s["name"] for s in out["setups"]]
        self.assertEqual(len(setups), 3)
        self.assertNotIn("draft", setups[0])
        self.assertIn("lookup 4", setups[1])
        self.assertIn("draft", setups[2])
        self.assertEqual(len(out["figures"]), 3 * 2)
        for flags in [["--prompt-lookup", "4"], ["--draft-model", self.model]]:
            self.refuse("bench", "--model", self.model, *QUICK, *flags,
                        saying="--prompt-file")

    def test_reports_are_written_in_every_form(self):
        begins = {"md": "###", "csv": "", "json": "{", "svg": "<svg", "html": "<!"}
        files = {kind: self.folder / f"report.{kind}" for kind in begins}
        outs = [word for file in files.values() for word in ("--out", file)]
        self.succeed("bench", "--model", self.model, *QUICK, *outs)
        for kind, begin in begins.items():
            self.assertIn(begin, files[kind].read_text()[:200], kind)
        self.assertNotIn("http://", files["html"].read_text().replace(
            "http://www.w3.org", ""))

    def test_comparing_tells_a_loss_by_the_exit_code(self):
        old = self.folder / "old.json"
        self.succeed("bench", "--model", self.model, *QUICK, "--out", old)
        report = json.loads(old.read_text())
        for figure in report["figures"]:
            figure["samples"] = [100, 101, 99]
        same = self.write("same.json", report)
        self.succeed("bench", "compare", same, same)
        for figure in report["figures"]:
            figure["samples"] = [50, 51, 49]
        slow = self.write("slow.json", report)
        out = self.run_program("bench", "compare", same, slow)
        self.assertEqual(out.returncode, 1)
        self.assertIn(b"slower", out.stdout)
        self.succeed("bench", "compare", slow, same)

    def test_another_engine_takes_its_turns(self):
        script = self.write(
            "llama-bench", "#!/bin/sh\necho '[{\"avg_ts\": 123.5}]'\n")
        script.chmod(0o755)
        out = json.loads(self.succeed(
            "bench", *QUICK, "--json", "--vs", "llama.cpp", "--peer-program",
            script, "--model", self.bundled()))
        peer = [f for f in out["figures"] if f["engine"] == "llama.cpp"]
        self.assertEqual(len(peer), 2)
        self.assertAlmostEqual(peer[0]["tokens_per_second"], 123.5, places=3)
        self.assertIsNone(peer[0]["share_of_roof"])
        self.assertIsNone(peer[0]["bandwidth_beside_bytes_per_second"])
        ours = [f for f in out["figures"] if f["engine"] == "roofline"]
        if out["setups"][0]["device"].startswith("CPU"):
            self.assertGreater(ours[0]["bandwidth_beside_bytes_per_second"], 0)
            self.assertGreater(ours[0]["share_of_roof_beside"], 0)

    def test_another_engine_runs_batches_by_the_program_that_can(self):
        one = self.write(
            "llama-bench", "#!/bin/sh\necho '[{\"avg_ts\": 123.5}]'\n")
        one.chmod(0o755)
        batches = ["bench", "-p", "4", "-n", "2", "-d", "3", "-b", "2",
                   "--rounds", "1", "--json", "--vs", "llama.cpp",
                   "--peer-program", one, "--model", self.bundled()]
        out = json.loads(self.succeed(*batches))
        self.assertEqual(
            {f["engine"] for f in out["figures"]}, {"roofline"})
        self.assertIn("llama.cpp isn't in", " ".join(out["remarks"]))
        asked = self.folder / "asked"
        self.write("llama-batched-bench", f"""#!/bin/sh
echo "$*" >>{asked}
echo '{{"speed_pp": 80.0, "speed_tg": 40.0}}'
""").chmod(0o755)
        out = json.loads(self.succeed(*batches))
        peer = [f for f in out["figures"] if f["engine"] == "llama.cpp"]
        # Prompts behind a cache are what it can't do.
        self.assertEqual([f["phase"] for f in peer], ["decode"])
        self.assertAlmostEqual(peer[0]["tokens_per_second"], 40, places=3)
        self.assertIn("-npp 3 -ntg 2 -npl 2 -c 10", asked.read_text())

    def test_a_peer_gets_the_model_in_its_own_layout(self):
        seen = self.folder / "seen.json"
        script = self.write("python3", f"""#!/bin/sh
while [ "$1" != --model ]; do shift; done
cp "$2/config.json" {seen}
echo 'Averages: prompt_tps=8.0, generation_tps=5.0, peak_memory=0.5'
""")
        script.chmod(0o755)
        out = json.loads(self.succeed(
            "bench", *QUICK, "--json", "--vs", "mlx-lm", "--peer-program",
            self.folder, "--model", self.bundled()))
        # The file is Q4_1: four bits in groups of 32 are the same codes.
        self.assertEqual(
            json.loads(seen.read_text())["quantization"],
            {"group_size": 32, "bits": 4, "mode": "affine"})
        self.assertIn("same weights", " ".join(out["remarks"]))
        peer = [f for f in out["figures"] if f["engine"] == "mlx-lm"]
        self.assertAlmostEqual(peer[0]["tokens_per_second"], 8, places=3)

    def test_a_peer_of_floats_gets_the_codes_that_ours_quantizes_to(self):
        seen = self.folder / "seen.json"
        self.write("python3", f"""#!/bin/sh
while [ "$1" != --model ]; do shift; done
cp "$2/config.json" {seen}
echo 'Averages: prompt_tps=8.0, generation_tps=5.0, peak_memory=0.5'
""").chmod(0o755)
        peer = ["bench", *QUICK, "--json", "--vs", "mlx-lm", "--peer-program",
                self.folder, "--model", self.model]
        out = json.loads(self.succeed(*peer))
        self.assertNotIn("quantization", json.loads(seen.read_text()))
        self.assertNotIn("same weights", " ".join(out["remarks"]))
        out = json.loads(self.succeed(*peer, "--quant", "int8", "--group-size", "32"))
        self.assertEqual(
            json.loads(seen.read_text())["quantization"],
            {"group_size": 32, "bits": 8, "mode": "affine"})
        self.assertIn("8-bit codes in groups of 32", " ".join(out["remarks"]))

    def test_ctrl_c_leaves_no_peers_model(self):
        # Not a shell, which may start a program after the signal and leave it.
        script = self.write("python3", f"""#!{sys.executable}
import pathlib, time
pathlib.Path("started").touch()
time.sleep(60)
""")
        script.chmod(0o755)
        models = self.folder / "temporary"
        models.mkdir()
        process = self.start(
            "bench", *QUICK, "--vs", "mlx-lm", "--peer-program", self.folder,
            "--model", self.bundled(), env={"TMPDIR": str(models)},
            cwd=self.folder, start_new_session=True)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (self.folder / "started").exists():
            time.sleep(0.02)
        self.assertTrue(any(models.iterdir()))
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertFalse(any(models.iterdir()))

    def test_a_signal_while_the_peers_model_is_written_leaves_nothing(self):
        script = self.write("python3", "#!/bin/sh\nexit 0\n")
        script.chmod(0o755)
        models = self.folder / "temporary"
        models.mkdir()
        process = self.start(
            "bench", *QUICK, "--vs", "mlx-lm", "--peer-program", self.folder,
            "--model", self.bundled(), env={"TMPDIR": str(models)})
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not any(models.iterdir()):
            time.sleep(0.002)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 143)
        self.assertFalse(any(models.iterdir()))

    def test_without_a_gpu_the_comparison_says_what_it_can(self):
        out = self.bench("--compare-cpu")
        engines = {figure["setup"] for figure in out["figures"]}
        self.assertIn("as stored, cpu", engines)
        if len(engines) == 1:
            self.assertIn("no GPU", " ".join(out["remarks"]))

    def test_settings_of_a_file_are_taken(self):
        file = self.write("s.toml", 'quant = "int8"\nthreads = 1\n')
        out = self.bench("--settings", file)
        self.assertEqual(out["figures"][0]["setup"], "int8, 1 thread")

    def test_mistakes_end_in_a_sentence(self):
        for arguments, saying in [
            (["--rounds", "0"], "rounds"),
            (["-p", "0", "-n", "0"], "nothing to measure"),
            (["-b", "0"], "batch"),
            (["--vs", "ollama"], "llama.cpp"),
            (["--out", "report.docx"], ".html"),
            (["compare", "a.json"], "compare"),
            (["--format", "tabel"], "Did you mean table"),
            (["--device", "gpuu"], "Did you mean gpu"),
            (["--vs", "lama.cpp"], "Did you mean llama.cpp"),
            (["-p", "100000000"], "this machine has"),
            (["-d", "2000000000", "-n", "1"], "can't run here"),
            (["-b", "100000000"], "this machine has"),
            (["--threads", "0"], "--threads"),
            (["--threads", "100000"], "cores"),
            (["--vs", "llama.cpp", "--peer-program", "/nowhere"], "isn't installed"),
            (["--vs", "llama.cpp,mlx-lm", "--peer-program", "/bin/true"],
             "--peer-program llama.cpp=/bin/true"),
        ]:
            self.refuse("bench", "--model", self.model, *arguments, saying=saying)


if __name__ == "__main__":
    unittest.main()
