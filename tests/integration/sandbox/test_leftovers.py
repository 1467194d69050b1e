"""What a kill leaves half done is made good by the next `make up`, and what looks whole is."""

import subprocess
from pathlib import Path

import pytest

from workbench.paths import REPOSITORY
from workbench.sandbox import ci, git, images
from workbench.sandbox.addresses import GIT_PORT, NODE_ADDRESS, REGISTRY
from workbench.sandbox.cluster import write_config
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import CommandError, run


def test_a_key_that_was_cut_short_is_no_key(sandbox: Sandbox, tmp_path: Path) -> None:
    key = sandbox.paths.state / "pki/service-account.key"
    key.parent.mkdir()
    key.with_suffix(".key.new").touch()
    write_config(sandbox, tmp_path)
    assert "PRIVATE KEY" in key.read_text()
    made = key.read_bytes()
    write_config(sandbox, tmp_path)
    assert key.read_bytes() == made


def test_locks_of_a_git_that_was_killed_are_removed(sandbox: Sandbox) -> None:
    bare = git.repository(sandbox)
    (bare / "refs/heads").mkdir(parents=True)  # an `init` that was killed, too
    locks = [bare / "refs/heads/main.lock", bare / "config.lock", sandbox.paths.state / "git-index.lock"]
    for lock in locks:
        lock.touch()
    git.start(sandbox)
    commit = git.publish(sandbox)
    assert git.tip(sandbox) == commit
    assert not [lock for lock in locks if lock.exists()]
    checkout = sandbox.paths.state / "checkout"
    (checkout / ".git").mkdir(parents=True)
    git.clone(sandbox, checkout)
    assert run(["git", "-C", checkout, "rev-parse", "HEAD"]).strip() == commit


def test_the_callers_own_settings_reach_no_program_of_the_sandbox(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / "hooks").mkdir(parents=True)
    hook = home / "hooks/reference-transaction"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    (home / ".gitconfig").write_text(f"[core]\n\thooksPath = {home}/hooks\n[init]\n\tdefaultBranch = theirs\n")
    for name, value in {"HOME": home, "XDG_CONFIG_HOME": home, "GIT_AUTHOR_NAME": "caller", "HELM_HOME": home}.items():
        monkeypatch.setenv(name, str(value))
    git.start(sandbox)
    git.publish(sandbox)
    author = run(["git", f"--git-dir={git.repository(sandbox)}", "log", "-1", "--format=%an", "main"])
    assert author.strip() == "sandbox"
    inside = sandbox.run(["env"])
    assert str(home) not in inside
    assert f"HOME={sandbox.paths.state}/home\n" in inside
    assert (sandbox.paths.state / "home").is_dir()


def test_an_image_has_its_name_only_when_it_is_whole(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[str] = []

    def killed(namespace: Sandbox, command: str, *words: str) -> str:
        named.extend(words)
        if command == "mutate":
            raise KeyboardInterrupt
        return ""

    monkeypatch.setattr(images, "crane", killed)
    (tmp_path / "rootfs").mkdir()
    with pytest.raises(KeyboardInterrupt):
        images._push_rootfs(sandbox, tmp_path / "rootfs", "pause:sandbox", "--entrypoint=/pause")
    final = [word for word in named if "pause:sandbox" in word]
    assert named[named.index(final[0]) - 1] == "--tag"
    assert len(final) == 1


def test_another_clones_latest_image_is_not_this_ones(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = "ghcr.io/vllm-eval/vllm-eval-evalchemy@sha256:" + "0" * 64
    registry: set[str] = set()
    built: list[str] = []

    def crane(namespace: Sandbox, command: str, *words: str) -> str:
        if words[0] in registry:
            return "sha256:" + "0" * 64
        raise CommandError(["crane", command, *words], "exit code 1", "MANIFEST_UNKNOWN", None)

    monkeypatch.setattr(images, "crane", crane)
    monkeypatch.setattr(git, "image_is_current", lambda namespace: True)
    monkeypatch.setattr(git, "recorded", lambda namespace, path: recorded)
    monkeypatch.setattr(git, "tip", lambda namespace: "tip")
    monkeypatch.setattr(images, "build", lambda namespace, name, **options: built.append(name))
    monkeypatch.setattr(ci, "write_back", lambda *words, **options: None)
    ci.build_image(sandbox)
    assert built == [f"{ci.IMAGE}:latest"]
    registry.add(recorded.replace("ghcr.io", REGISTRY))
    ci.build_image(sandbox)
    assert len(built) == 1


def test_a_repository_is_served_to_those_who_push(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.run(["ip", "addr", "replace", f"{NODE_ADDRESS}/32", "dev", "lo"])
    git.start(sandbox)
    commit = git.publish(sandbox)
    address = f"http://{NODE_ADDRESS}:{GIT_PORT}/{git.NAME}"
    script = f"""
        until git ls-remote {address} >/dev/null 2>&1; do sleep 0.2; done
        git clone --quiet {address} {tmp_path}/clone
        cd {tmp_path}/clone; git commit --quiet --allow-empty -m More; git push --quiet origin main
    """
    subprocess.run(
        sandbox.command(["sh", "-ec", script]),
        env={**sandbox.env(), **git.IDENTITY},
        cwd=REPOSITORY,
        check=True,
        timeout=120,
    )
    assert git.tip(sandbox) != commit
