"""roofline profile: what it says, the trace and the page it writes."""

import json
import unittest

from program import SOURCE, TinyModel

SAMPLE = SOURCE / "tests/data/powermetrics/m2_two_samples.txt"


class Profile(TinyModel):
    def profile(self, *arguments, **more):
        line = ["profile", "Hello", "--model", self.model, "--ignore-eos"]
        if "-n" not in arguments:
            line += ["-n", "6"]
        return self.succeed(*line, *arguments, **more)

    def test_json_has_speeds_phases_operations_and_memory(self):
        report = json.loads(self.profile("--json"))
        self.assertEqual(len(report["tokens"]), 6)
        self.assertEqual(report["steps"], 5)
        self.assertGreater(report["decode_tokens_per_second"], 0)
        self.assertGreater(report["peak_memory"]["resident_bytes"], 0)
        names = [phase["name"] for phase in report["phases"]]
        for name in ["process start", "load: weights", "prefill", "decode"]:
            self.assertIn(name, names)
        if report["device"].startswith("CPU"):
            operations = [op["name"] for op in report["decode_operations"]]
            self.assertIn("attention", operations)

    def test_the_trace_is_chromes_format(self):
        path = self.folder / "trace.json"
        self.profile("--out", path)
        events = json.loads(path.read_text())["traceEvents"]
        spans = [e for e in events if e["ph"] == "X"]
        self.assertEqual(len([e for e in spans if e["name"] == "decode"]), 5)
        for event in spans:
            self.assertGreaterEqual(event["ts"], 0)
            self.assertGreaterEqual(event["dur"], 0)
        memory = [e for e in events if e["name"] == "memory bytes"]
        self.assertIn("KV cache", memory[0]["args"])

    def test_the_page_is_one_file_that_loads_nothing(self):
        path = self.folder / "page.html"
        self.profile("--html", path)
        page = path.read_text()
        self.assertIn("traceEvents", page)
        for outside in ["src=", "href=\"http", "@import"]:
            self.assertNotIn(outside, page)

    def test_piped_text_has_no_escapes(self):
        for arguments in [[], ["--live"]]:
            out = self.profile(*arguments)
            self.assertIn("Prefill", out)
            self.assertNotIn("\x1b", out)

    def test_live_says_the_speed_on_standard_error(self):
        line = ["profile", "Hello", "--model", self.model, "-n", "6"]
        result = self.run_program(*line, "--live", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        json.loads(result.stdout)
        self.assertIn(b"tok/s", result.stderr)

    def test_one_token_has_no_decode_speed(self):
        report = json.loads(self.profile("-n", "1", "--json"))
        self.assertEqual(report["steps"], 0)
        self.assertIsNone(report["decode_tokens_per_second"])
        self.assertIn("no decode step", self.profile("-n", "1"))

    def test_powermetrics_is_joined(self):
        report = json.loads(self.profile("--powermetrics", SAMPLE, "--json"))
        self.assertEqual(report["power"]["samples"], 2)
        self.assertFalse(report["power"]["of_this_run"])
        self.assertGreater(report["power"]["joules_per_token"], 0)
        lists = json.loads(self.profile("--powermetrics", SAMPLE.with_suffix(".plist"), "--json"))
        self.assertEqual(lists["power"]["samples"], 2)
        self.assertEqual(lists["power"]["thermal_pressure"], "Heavy")

    def test_wrong_files_are_refused(self):
        none = self.folder / "none"
        self.refuse("profile", "--model", none, saying="none")
        line = ["profile", "Hi", "--model", self.model, "-n", "2"]
        self.refuse(*line, "--powermetrics", none, saying="none")
        text = self.write("text", "hello\n")
        self.refuse(*line, "--powermetrics", text, saying="no samples")
        self.refuse(*line, "--out", text / "x.json", saying="x.json")


if __name__ == "__main__":
    unittest.main()
