"""roofline doctor: its checks, and what its exit code says."""

import json
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
        self.assertIn("ROOFLINE_ISA", checks["instructions"]["fix"])


if __name__ == "__main__":
    unittest.main()
