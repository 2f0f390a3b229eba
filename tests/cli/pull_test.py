"""roofline pull, against a hub of this test's own on a free port: the same
interface as Hugging Face's, and every way in which a download goes wrong."""

import contextlib
import hashlib
import json
import resource
import signal
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from program import LLAMA, Program, byte_tokenizer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "acme/tiny"
TOKEN = "hf_secret"


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub:
    """The files of one model, faults to play, and what was asked for."""

    def __init__(self, files):
        self.files = files
        self.large = {name for name in files if name.endswith((".safetensors", "gguf"))}
        self.cut_after = {}  # file: bytes after which each connection breaks
        self.cuts = {}  # file: how many connections do
        self.wrong = {}  # file: how many times its bytes arrive wrong
        self.stall = {}  # file: how many connections stop there without breaking
        self.stalled = threading.Event()  # set: they break
        self.busy = 0  # answers of 503 before the first other one
        self.token = None  # asked for
        self.no_ranges = False
        self.extra_siblings = []
        self.requests = []  # (server, method, path, token, range)
        self.cdn = Server(self, "cdn")
        self.main = Server(self, "hub")

    def close(self):
        self.stalled.set()
        self.cdn.stop()
        self.main.stop()

    def etag(self, name):
        data = self.files[name]
        if name in self.large:
            return hashlib.sha256(data).hexdigest()
        return git_sha1(data)


class Server:
    def __init__(self, hub, kind):
        handler = type("Bound", (Handler,), {"hub": hub, "kind": kind})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = "http://127.0.0.1:%d" % self.http.server_address[1]
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    def stop(self):
        self.http.shutdown()
        self.http.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        headers.setdefault("Content_Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub = self.hub
        hub.requests.append(
            (
                self.kind,
                self.command,
                self.path,
                self.headers.get("Authorization"),
                self.headers.get("Range"),
            )
        )
        if self.kind == "cdn":
            return self.send_file(self.path.removeprefix("/blob/"))
        if hub.busy > 0:
            hub.busy -= 1
            return self.answer(503)
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self.answer(401, X_Error_Code="RepoNotFound")
        if self.path.startswith("/api/models/"):
            return self.list_model()
        prefix = f"/{NAME}/resolve/{COMMIT}/"
        name = self.path.removeprefix(prefix)
        if not self.path.startswith(prefix) or name not in hub.files:
            return self.answer(404, X_Error_Code="EntryNotFound")
        etag = f'"{hub.etag(name)}"'
        if name in hub.large:
            self.answer(
                302,
                Location=f"{hub.cdn.url}/blob/{name}",
                X_Repo_Commit=COMMIT,
                X_Linked_Etag=etag,
                X_Linked_Size=str(len(hub.files[name])),
            )
        elif self.command == "HEAD":
            size = str(len(hub.files[name]))
            self.answer(200, ETag=etag, X_Repo_Commit=COMMIT, Content_Length=size)
        else:
            self.send_file(name)

    def list_model(self):
        revision = self.path.removeprefix(f"/api/models/{NAME}/revision/")
        if revision == self.path:
            return self.answer(404, X_Error_Code="RepoNotFound")
        if revision not in ("main", COMMIT):
            return self.answer(404, X_Error_Code="RevisionNotFound")
        names = [*self.hub.files, *self.hub.extra_siblings]
        listing = {"sha": COMMIT, "siblings": [{"rfilename": n} for n in names]}
        self.answer(200, json.dumps(listing).encode())

    def send_file(self, name):
        hub = self.hub
        data = hub.files[name]
        if hub.wrong.get(name, 0) > 0:
            hub.wrong[name] -= 1
            data = bytes(len(data))
        wanted = self.headers.get("Range")
        begin = 0
        if wanted and not hub.no_ranges:
            begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
        rest = data[begin:]
        self.send_response(206 if begin else 200)
        if begin:
            span = f"bytes {begin}-{len(data) - 1}/{len(data)}"
            self.send_header("Content-Range", span)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if hub.stall.get(name, 0) > 0:
            hub.stall[name] -= 1
            self.wfile.write(rest[: hub.cut_after[name]])
            self.wfile.flush()
            hub.stalled.wait(60)
            self.close_connection = True
            return
        if hub.cuts.get(name, 0) > 0 and len(rest) > hub.cut_after[name]:
            hub.cuts[name] -= 1
            self.wfile.write(rest[: hub.cut_after[name]])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(rest)


class PullTest(Program):
    def setUp(self):
        super().setUp()
        self.files = {
            "config.json": (LLAMA / "config.json").read_bytes(),
            "model.safetensors": (LLAMA / "model.safetensors").read_bytes(),
            "tokenizer.json": json.dumps(byte_tokenizer()).encode(),
            "README.md": b"# Tiny\n",
            "pytorch_model.bin": b"pickle",
            "onnx/model.onnx": b"onnx",
        }
        self.hub = Hub(self.files)
        self.addCleanup(self.hub.close)
        self.home = self.folder / "hf"
        self.store = self.home / "hub" / "models--acme--tiny"

    def settings(self, **more):
        return {"HF_ENDPOINT": self.hub.main.url, "HF_HOME": str(self.home), **more}

    def pull(self, *arguments, env=None):
        return self.succeed(
            "pull", NAME, *arguments, env=self.settings(**(env or {}))
        )  # fmt: skip

    def refuse_pull(self, *arguments, saying, name=NAME, env=None, **more):
        return self.refuse(
            "pull", name, *arguments, saying=saying,
            env=self.settings(**(env or {})), **more,
        )  # fmt: skip

    def snapshot(self, name):
        return self.store / "snapshots" / COMMIT / name

    def gets(self, name):
        return [
            request
            for request in self.hub.requests
            if request[1] == "GET" and request[2].endswith(name)
        ]

    def test_a_pulled_model_lies_as_the_other_tools_expect_and_runs(self):
        self.pull()
        for name in ["config.json", "model.safetensors", "tokenizer.json"]:
            link = self.snapshot(name)
            self.assertTrue(link.is_symlink())
            self.assertFalse(Path(link.readlink()).is_absolute())
            self.assertEqual(link.read_bytes(), self.files[name])
            self.assertEqual(link.resolve().parent, (self.store / "blobs").resolve())
            self.assertEqual(link.resolve().name, self.hub.etag(name))
        self.assertEqual((self.store / "refs/main").read_text(), COMMIT)
        self.assertFalse(self.snapshot("pytorch_model.bin").exists())
        self.assertFalse(self.snapshot("onnx").exists())
        answer = self.succeed(
            "generate", NAME, "Hello", "-n", "3", "--quiet", env=self.settings()
        )  # fmt: skip
        self.assertTrue(answer)

    def test_a_second_pull_fetches_nothing(self):
        self.pull()
        self.hub.requests.clear()
        report = json.loads(self.pull("--json"))
        self.assertEqual(report["fetched_bytes"], 0)
        self.assertEqual(report["files"], 4)
        self.assertEqual([r for r in self.hub.requests if "resolve" in r[2]], [])

    def test_broken_connections_go_on_where_they_stopped(self):
        self.hub.cut_after["model.safetensors"] = 100_000
        self.hub.cuts["model.safetensors"] = 2
        self.pull()
        self.assertEqual(
            self.snapshot("model.safetensors").read_bytes(),
            self.files["model.safetensors"],
        )
        ranges = [r[4] for r in self.gets("model.safetensors") if r[0] == "cdn"]
        self.assertEqual(ranges, [None, "bytes=100000-", "bytes=200000-"])

    def test_an_interrupted_download_is_resumed_by_the_next_call(self):
        blobs = self.store / "blobs"
        blobs.mkdir(parents=True)
        data = self.files["model.safetensors"]
        left = blobs / (self.hub.etag("model.safetensors") + ".incomplete")
        left.write_bytes(data[:123_456])
        report = json.loads(self.pull("--include", "*.safetensors", "--json"))
        self.assertEqual(report["fetched_bytes"], len(data) - 123_456)
        self.assertEqual(self.gets("model.safetensors")[-1][4], "bytes=123456-")
        self.assertEqual(self.snapshot("model.safetensors").read_bytes(), data)
        self.assertFalse(left.exists())

    def test_a_hub_without_ranges_sends_all_again(self):
        self.hub.no_ranges = True
        self.hub.cut_after["model.safetensors"] = 100_000
        self.hub.cuts["model.safetensors"] = 1
        self.pull()
        self.assertEqual(
            self.snapshot("model.safetensors").read_bytes(),
            self.files["model.safetensors"],
        )

    def test_a_wrong_checksum_is_tried_again_once_then_refused(self):
        for name in ["model.safetensors", "config.json"]:
            with self.subTest(name):
                self.hub.wrong[name] = 1
                self.pull("--include", name)
                self.assertEqual(self.snapshot(name).read_bytes(), self.files[name])
        self.hub.wrong["tokenizer.json"] = 2
        self.refuse_pull(saying=["tokenizer.json arrived wrong", "checksum"])
        self.assertFalse(self.snapshot("tokenizer.json").exists())

    def test_a_full_disk_is_told_and_the_next_call_goes_on(self):
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        self.refuse_pull(saying=["model.safetensors", "disk is full"],
                         preexec_fn=limit)  # fmt: skip
        self.assertFalse(self.snapshot("model.safetensors").exists())
        self.hub.requests.clear()
        self.pull()
        self.assertEqual(self.gets("model.safetensors")[-1][4], "bytes=100000-")
        self.assertEqual(
            self.snapshot("model.safetensors").read_bytes(),
            self.files["model.safetensors"],
        )

    def start_and_stall(self):
        """A pull whose connection has stopped giving anything."""
        self.hub.cut_after["model.safetensors"] = 100_000
        self.hub.stall["model.safetensors"] = 1
        process = self.start("pull", NAME, env=self.settings())
        blobs = self.store / "blobs"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if self.largest_leftover(blobs) >= 100_000:
                break
            time.sleep(0.005)
        return process

    def largest_leftover(self, blobs: Path) -> int:
        """Bytes of the largest file in the making; 0 where there is none."""
        sizes = [0]
        for path in blobs.glob("*.incomplete"):
            # The smaller files get their names meanwhile.
            with contextlib.suppress(FileNotFoundError):
                sizes.append(path.stat().st_size)
        return max(sizes)

    def test_an_interrupt_doesnt_wait_for_a_hub_that_has_stopped(self):
        process = self.start_and_stall()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=25)  # a stall is one after 30
        self.assertEqual(process.returncode, 128 + signal.SIGINT)
        self.assertIn("goes on from here", told.decode())

    def test_pulls_of_the_same_model_share_its_files(self):
        pulls = [self.start("pull", NAME, env=self.settings()) for _ in range(4)]
        for process in pulls:
            _, told = process.communicate(timeout=120)
            self.assertEqual((process.returncode, told), (0, b""))
        self.assertEqual(len(self.gets("model.safetensors")), 2)  # hub, then cdn

    def test_a_kill_leaves_no_file_under_its_name_and_the_next_call_goes_on(self):
        process = self.start_and_stall()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        self.assertEqual(process.returncode, -signal.SIGKILL)
        self.assertFalse(self.snapshot("model.safetensors").exists())
        self.hub.stalled.set()
        self.pull()
        self.assertEqual(self.gets("model.safetensors")[-1][4], "bytes=100000-")
        self.assertEqual(
            self.snapshot("model.safetensors").read_bytes(),
            self.files["model.safetensors"],
        )

    def test_a_leftover_of_other_bytes_is_thrown_away(self):
        blobs = self.store / "blobs"
        blobs.mkdir(parents=True)
        etag = self.hub.etag("model.safetensors")
        (blobs / f"{etag}.incomplete").write_bytes(b"not these" * 1000)
        self.pull()
        self.assertEqual(
            self.snapshot("model.safetensors").read_bytes(),
            self.files["model.safetensors"],
        )

    def test_the_token_goes_to_the_hub_and_to_nobody_else(self):
        self.hub.token = TOKEN
        self.refuse_pull(saying=["401", "HF_TOKEN"])
        (self.home / "token").parent.mkdir(parents=True, exist_ok=True)
        (self.home / "token").write_text("wrong\n")
        self.refuse_pull(saying=["401", "token gives no access"])
        self.pull(env={"HUGGING_FACE_HUB_TOKEN": TOKEN})
        (self.home / "token").write_text(TOKEN + "\n")
        self.pull("--include", "*.bin")
        cdn = [request for request in self.hub.requests if request[0] == "cdn"]
        self.assertTrue(cdn)
        self.assertEqual({request[3] for request in cdn}, {None})

    def test_a_busy_hub_is_asked_again(self):
        self.hub.busy = 2
        self.pull()
        self.assertTrue(self.snapshot("config.json").exists())

    def test_unknown_names_and_revisions_are_told(self):
        self.refuse_pull(name="acme/none", saying=["acme/none", "no such model"])
        self.refuse_pull("--revision", "v9", saying=["no such revision", "--revision"])
        self.refuse_pull("--include", "*.safetensor", saying="no file like")
        self.refuse_pull(name="../etc", saying="org/name")
        self.refuse_pull(name="a/b/c", saying="org/name")
        self.refuse_pull("--revision", "../../x", saying="--revision")

    def test_offline_mode_and_an_absent_hub_are_told(self):
        self.refuse_pull(saying="HF_HUB_OFFLINE is set", env={"HF_HUB_OFFLINE": "1"})
        self.assertEqual(self.hub.requests, [])
        self.pull()
        asked = len(self.hub.requests)
        told = json.loads(self.pull("--json", env={"HF_HUB_OFFLINE": "1"}))
        self.assertEqual(len(self.hub.requests), asked)
        self.assertEqual((told["commit"], told["fetched_bytes"]), (COMMIT, 0))
        self.assertEqual(told["files"], 4)
        message = self.refuse(
            "generate", "acme/other", "Hello", env=self.settings()
        )  # fmt: skip
        self.assertIn("roofline pull acme/other", message)

    def test_pickles_alone_are_refused_with_the_reason(self):
        self.files.pop("model.safetensors")
        self.refuse_pull(saying=["pickle", "safetensors or GGUF"])

    def test_of_several_gguf_files_one_is_chosen(self):
        self.files.pop("model.safetensors")
        for quant in ["Q4_K_M", "Q8_0"]:
            self.files[f"tiny-{quant}.gguf"] = b"GGUF" + quant.encode()
            self.hub.large.add(f"tiny-{quant}.gguf")
        self.refuse_pull(saying=["several GGUF files", "--quant"])
        self.refuse_pull("--quant", "q5_0", saying=["no GGUF file q5_0"])
        self.pull("--quant", "q8_0")
        self.assertTrue(self.snapshot("tiny-Q8_0.gguf").exists())
        self.assertFalse(self.snapshot("tiny-Q4_K_M.gguf").exists())

    def test_a_listing_that_leaves_the_folder_is_refused(self):
        self.hub.extra_siblings = ["../../../.profile"]
        self.refuse_pull(saying=["no usable answer", ".profile"])

    def test_a_commit_can_be_named(self):
        self.pull("--revision", COMMIT, "--include", "config.json")
        self.assertFalse((self.store / "refs").exists())
        self.assertTrue(self.snapshot("config.json").exists())


if __name__ == "__main__":
    unittest.main()
