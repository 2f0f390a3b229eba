"""roofline doctor: its checks, and what its exit code says."""

import json
import os
import unittest

from program import Program


class Doctor(Program):
    def test_json_has_each_check_with_state_and_fix(self):
        out = self.run_program("doctor", "--json")
        checks = json.loads(out.stdout)["checks"]
        self.assertIn("mlx", [check["name"] for check in checks])
        for check in checks:
            self.assertIn(check["state"], ["ok", "warning", "problem"])
            self.assertEqual(check["fix"] == "", check["state"] == "ok")

    def test_a_bad_instruction_set_is_a_problem_not_a_crash(self):
        out = self.run_program("doctor", "--json", env={"ROOFLINE_ISA": "avx9"})
        self.assertEqual(out.returncode, 1, out.stderr)
        checks = {c["name"]: c for c in json.loads(out.stdout)["checks"]}
        self.assertEqual(checks["instructions"]["state"], "problem")
        self.assertIn("avx9", checks["instructions"]["finding"])
        self.assertNotIn(". ", checks["instructions"]["finding"])
        self.assertIn("ROOFLINE_ISA", checks["instructions"]["fix"])

    def checks(self, *arguments, code=0, **more):
        out = self.run_program("doctor", *arguments, "--json", **more)
        self.assertEqual(out.returncode, code, out.stderr)
        return {c["name"]: c for c in json.loads(out.stdout)["checks"]}

    def fake(self, name, text):
        """A program of that name, first in PATH."""
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)
        return {"PATH": f"{path.parent}:{os.environ['PATH']}"}

    def test_it_says_why_the_device_was_chosen(self):
        self.assertRegex(self.checks()["device"]["finding"], "CPU|GPU")

    def test_the_bandwidth_is_measured(self):
        checks = self.checks()
        self.assertRegex(checks["bandwidth"]["finding"], r"[0-9.]+ GB/s")
        self.assertIn("gpu bandwidth", checks)

    def test_an_old_nvidia_driver_is_a_problem(self):
        if self.checks()["device"]["finding"].startswith("The GPU"):
            self.skipTest("MLX finds a GPU here")
        env = self.fake("nvidia-smi", "echo 470.10.1\n")
        check = self.checks(env=env, code=1)["device"]
        self.assertEqual(check["state"], "problem")
        self.assertIn("470.10.1", check["finding"])
        self.assertIn("550.54.14", check["fix"])

    def test_an_mlx_of_another_version_in_python_is_a_warning(self):
        text = "printf '/x/python3 3.12.1\\n0.20.0\\n0.25.1\\n0.22.0\\n'\n"
        check = self.checks(env=self.fake("python3", text))["python"]
        self.assertEqual(check["state"], "warning")
        self.assertIn("needs mlx 0.22.0", check["finding"])
        self.assertIn("pip install", check["fix"])
        text = "printf '/x/python3 3.12.1\\n0.20.0\\n\\n\\n'\n"
        check = self.checks(env=self.fake("python3", text))["python"]
        self.assertIn("pip install mlx==", check["fix"])

    def test_strict_makes_warnings_count(self):
        env = self.fake("python3", "printf '/x/python3 3.12.1\\n0.20.0\\n\\n\\n'\n")
        self.checks(env=env)
        self.checks("--strict", env=env, code=1)

    def test_a_cache_that_cannot_be_written_is_a_problem(self):
        file = self.write("file", "x")
        checks = self.checks(env={"ROOFLINE_CACHE": str(file)}, code=1)
        self.assertEqual(checks["cache"]["state"], "problem")
        self.assertIn("ROOFLINE_CACHE", checks["cache"]["fix"])

    def test_the_table_fits_eighty_columns_without_escapes(self):
        out = self.run_program("doctor").stdout.decode()
        self.assertNotIn("\x1b", out)
        for line in out.splitlines():
            self.assertLessEqual(len(line), 80, line)


if __name__ == "__main__":
    unittest.main()
