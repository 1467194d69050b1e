"""vLLM itself on this machine's loopback: started, restarted and ended by the test that wants it."""

import json
import os
import signal
import struct
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.support.ports import free_port
from workbench.shell import wait_for
from workbench.toolchain.vllm.provide import Vllm
from workbench.toolchain.vllm.serve import command, environment

STOPPED_SECONDS: Final = 30
READY_SECONDS: Final = 900
# Two tokens of the vocabulary that no text uses, renamed: vLLM's parsers look for tokens and not for text.
THOUGHTS: Final = {"<unused0>": "<think>", "<unused1>": "</think>"}
# Ids of the line break and of the closing tag; how much larger the latter's weights become.
LINE_BREAK, END_OF_THOUGHT, MORE = 107, 7, 1.0625
WIDTH, RANK, LAYERS = 640, 4, 18


class VllmServer:
    """One server; ``url`` is the base of its OpenAI API, and stays the same when it starts again."""

    def __init__(self, found: Vllm, log: Path, *, names: Sequence[str], options: Sequence[str] = ()) -> None:
        self._found = found
        self._port = free_port()
        self._command = command(found, port=self._port, names=names, options=options)
        self._process: subprocess.Popen[bytes] | None = None
        # A short path, since it holds sockets; vLLM and PyTorch leave files in it.
        self._temporary = tempfile.TemporaryDirectory(prefix="vllm-")
        self.log = log
        self.root = f"http://127.0.0.1:{self._port}"
        self.url = f"{self.root}/v1"

    @property
    def running(self) -> bool:
        """Whether it was started and not ended."""
        return self._process is not None

    def start(self) -> None:
        """Start it and wait until it serves."""
        # The kernel ends it with this process, however that ends; its own processes follow it.
        words = ["setpriv", "--pdeathsig=TERM", *self._command]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                words, env={**os.environ, **environment(self._found.libraries), "TMPDIR": self._temporary.name},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_for("vLLM", self._serves, seconds=READY_SECONDS)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it with all of its processes, politely or not, and wait."""
        process, self._process = self._process, None
        if process is None:
            return
        for each in (number, signal.SIGKILL):
            try:
                os.killpg(process.pid, each)
                process.wait(timeout=STOPPED_SECONDS)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        process.wait(timeout=STOPPED_SECONDS)

    def post(self, path: str, **body: Any) -> tuple[int, Any]:  # noqa: ANN401 - JSON
        """Return status and body of a request; ``path`` begins with a slash and holds ``/v1`` where that belongs."""
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.root}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=300) as response:  # noqa: S310
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def metric(self, name: str) -> float:
        """Return the sum of a metric's series."""
        with urllib.request.urlopen(f"{self.root}/metrics", timeout=60) as response:  # noqa: S310 - loopback
            lines = response.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))

    def _serves(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"vLLM ended:\n{self.log.read_text()[-3000:]}")
        try:
            with urllib.request.urlopen(f"{self.root}/health", timeout=5):  # noqa: S310 - loopback
                return True
        except OSError:
            return False


def thinking(model: Path, folder: Path, *, ends: bool = False) -> Path:
    """Write a model folder with the weights of another one, whose vocabulary has tokens for thoughts.

    ``ends``: where the other model would end a line, this one ends its thought.
    """
    folder.mkdir()
    for file in model.iterdir():
        if file.name == "tokenizer.json":
            told = json.loads(file.read_text())
            for token in told["added_tokens"]:
                if token["content"] in THOUGHTS:
                    # A special token would not be in the text, in which the parser looks for the end of a thought.
                    token |= {"content": THOUGHTS[token["content"]], "special": False}
            vocabulary = told["model"]["vocab"]
            for name, renamed in THOUGHTS.items():
                vocabulary[renamed] = vocabulary.pop(name)
            (folder / file.name).write_text(json.dumps(told))
        elif ends and file.suffix == ".safetensors":
            (folder / file.name).write_bytes(_with_an_end(file.read_bytes()))
        else:
            (folder / file.name).symlink_to(file)
    return folder


def _with_an_end(weights: bytes) -> bytes:
    """Give the closing tag the weights of the line break, a little larger: it is then always likelier."""
    (length,) = struct.unpack("<Q", weights[:8])
    told = json.loads(weights[8 : 8 + length])["model.embed_tokens.weight"]
    assert told["dtype"] == "BF16"
    start = 8 + length + int(told["data_offsets"][0])
    row = 2 * int(told["shape"][1])
    source, target = (start + token * row for token in (LINE_BREAK, END_OF_THOUGHT))
    values = [struct.unpack("<f", b"\0\0" + weights[at : at + 2])[0] for at in range(source, source + row, 2)]
    larger = b"".join(struct.pack("<f", value * MORE)[2:] for value in values)
    return weights[:target] + larger + weights[target + row :]


def adapter(folder: Path) -> Path:
    """Write a LoRA adapter of small weights that are a function of their places, in the format of peft."""
    folder.mkdir()
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 8, "target_modules": ["q_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    header: dict[str, Any] = {}
    content = b""
    for layer in range(LAYERS):
        for part, shape in (("lora_A", (RANK, WIDTH)), ("lora_B", (1024, RANK))):
            count = shape[0] * shape[1]
            values = struct.pack(f"<{count}f", *(((layer + index * 7919) % 17 - 8) / 100 for index in range(count)))
            name = f"base_model.model.model.layers.{layer}.self_attn.q_proj.{part}.weight"
            header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(content), len(content) + len(values)]}
            content += values
    told = json.dumps(header).encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(told)) + told + content)
    return folder
