"""A bare remote with the evaluation Job on main, clones of it, and the write-back script run as CI runs it."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from workbench.paths import REPOSITORY

SCRIPT: Final = ("-m", "workbench.ci.write_back")
MANIFEST: Final = "k8s/evalchemy-job.yaml"
IMAGE: Final = "ghcr.io/acme/vllm-eval-evalchemy"
PLACEHOLDER: Final = "none"

# Same shape as the shipped Job, with what a formatter would spoil: blank lines, odd indentation, comments, flow maps.
JOB: Final = f"""\
# The evaluation Job.
apiVersion: batch/v1
kind: Job
metadata:
  name: evalchemy   # the Application looks for it

  annotations:
    argocd.argoproj.io/sync-options: Force=true,Replace=true

spec:
  completions: 1

  template:
    metadata:
      annotations:
        # CI writes this one.
        git-commit: "{PLACEHOLDER}"
        vllm-eval/models: '[]'
    spec:
      restartPolicy: Never
      containers:
      - name: sidecar
        image: ghcr.io/acme/sidecar:1
      - name: evalchemy
        image: {IMAGE}:latest
        imagePullPolicy: Always

        env:
        - {{name: VLLM_EVAL_STACK, value: "default"}}
        # - name: MODEL_ENDPOINT
        #   value: http://model:8000/v1
"""


def digest(character: str) -> str:
    """Return a well-formed digest of one repeated hexadecimal digit."""
    return "sha256:" + character * 64


@dataclass
class World:
    """The remote and what people and CI do to it."""

    folder: Path
    clones: int = 0
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environment = {
            **os.environ,
            # No setting of the machine's own may reach Git here.
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            "GIT_AUTHOR_NAME": "Dev",
            "GIT_AUTHOR_EMAIL": "dev@example.com",
            "GIT_COMMITTER_NAME": "Dev",
            "GIT_COMMITTER_EMAIL": "dev@example.com",
        }
        self.git(self.folder, "init", "--quiet", "--bare", "--initial-branch=main", str(self.remote))
        seed = self.folder / "seed"
        self.git(self.folder, "clone", "--quiet", str(self.remote), str(seed))
        self.git(seed, "symbolic-ref", "HEAD", "refs/heads/main")
        self.change(seed, {MANIFEST: JOB, "eval/task.txt": "1\n"}, "Start")

    @property
    def remote(self) -> Path:
        """The bare repository."""
        return self.folder / "remote.git"

    def git(self, where: Path, *arguments: str) -> str:
        """Run Git and return what it printed."""
        command = ["git", "-C", str(where), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def clone(self, *options: str) -> Path:
        """Return a new clone of the remote's main."""
        self.clones += 1
        target = self.folder / f"clone-{self.clones}"
        # file://: a plain path would ignore --depth.
        self.git(self.folder, "clone", "--quiet", "--branch=main", *options, f"file://{self.remote}", str(target))
        return target

    def change(self, clone: Path, files: dict[str, str], message: str, *, push: bool = True) -> str:
        """Commit files in a clone, on top of the remote's main, and return the commit."""
        if push and self.git(self.remote, "branch", "--list", "main"):
            self.git(clone, "pull", "--quiet", "--rebase", "origin", "main")
        for name, text in files.items():
            path = clone / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        self.git(clone, "add", "--all")
        self.git(clone, "commit", "--quiet", "--message", message)
        if push:
            self.git(clone, "push", "--quiet", "origin", "HEAD:refs/heads/main")
        return self.git(clone, "rev-parse", "HEAD")

    def tip(self) -> str:
        """Return the remote's main."""
        return self.git(self.remote, "rev-parse", "main")

    def manifest(self) -> str:
        """Return the manifest at the remote's main, with its last line end."""
        return self.git(self.remote, "show", f"main:{MANIFEST}") + "\n"

    def hook(self, script: str) -> None:
        """Give the remote a pre-receive hook."""
        path = self.remote / "hooks" / "pre-receive"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    def start(self, clone: Path, commit: str, image_digest: str, *extra: str) -> subprocess.Popen[str]:
        """Start the script as CI does."""
        command = [
            *(sys.executable, "-W", "error", *SCRIPT, "--repository", str(clone)),
            *("--image", IMAGE, "--digest", image_digest, "--commit", commit, "--backoff", "0.02", *extra),
        ]
        return subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY
        )

    def write_back(self, clone: Path, commit: str, image_digest: str, *extra: str) -> subprocess.CompletedProcess[str]:
        """Run the script to its end."""
        process = self.start(clone, commit, image_digest, *extra)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def expected(commit: str, image_digest: str, base: str = JOB, image: str = IMAGE) -> str:
    """Return what the write-back must have made of a manifest."""
    written = base.replace(f'"{PLACEHOLDER}"', f'"{commit}"')
    return written.replace(f"image: {IMAGE}:latest\n", f"image: {image}:latest@{image_digest}\n")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A remote without clones."""
    return World(tmp_path)
