"""The write-back script against a real bare remote, run as CI runs it."""

from pathlib import Path

import pytest

from tests.support.ci.git_world import IMAGE, JOB, MANIFEST, PLACEHOLDER, World, digest, expected
from tests.support.ci.http_remote import http_remote


def test_two_values_change_and_every_other_byte_stays(world: World) -> None:
    clone = world.clone()
    commit = world.change(clone, {"eval/task.txt": "2\n"}, "Change the task")

    done = world.write_back(clone, commit, digest("a"))

    assert done.returncode == 0, done.stderr
    assert world.manifest() == expected(commit, digest("a"))
    log = world.git(world.remote, "log", "-1", "--format=%an|%P|%B", "main")
    assert log.startswith(f"github-actions[bot]|{commit}|Evaluate {commit[:12]} [skip ci]\n")
    assert f"Source-commit: {commit}" in log
    assert world.git(world.remote, "diff", "--name-only", commit, "main") == MANIFEST


def test_checkout_is_left_as_it_was(world: World) -> None:
    clone = world.clone()
    commit = world.change(clone, {"eval/task.txt": "2\n"}, "Change the task")
    (clone / MANIFEST).write_text("somebody is editing this\n", encoding="utf-8")
    hook = clone / ".git" / "hooks" / "pre-commit"
    hook.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    (clone / "staged.txt").write_text("half done\n", encoding="utf-8")
    world.git(clone, "add", "staged.txt")
    before = world.git(clone, "status", "--porcelain")

    done = world.write_back(clone, commit, digest("a"))

    assert done.returncode == 0, done.stderr
    assert (clone / MANIFEST).read_text(encoding="utf-8") == "somebody is editing this\n"
    assert world.git(clone, "rev-parse", "HEAD") == commit
    assert world.git(clone, "status", "--porcelain") == before
    assert world.git(clone, "for-each-ref", "refs/write-back") == ""


def test_outcome_reaches_the_workflow(world: World, tmp_path: Path) -> None:
    clone = world.clone()
    output, summary = tmp_path / "output", tmp_path / "summary"
    world.environment |= {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary)}

    world.write_back(clone, world.tip(), digest("a"))

    assert output.read_text(encoding="utf-8") == f"result=written\ncommit={world.tip()}\n"
    assert "now records" in summary.read_text(encoding="utf-8")


def test_same_commit_and_digest_again_writes_nothing(world: World) -> None:
    clone = world.clone()
    commit = world.tip()
    world.write_back(clone, commit, digest("a"))
    tip = world.tip()

    done = world.write_back(clone, commit, digest("a"))

    assert (done.returncode, world.tip()) == (0, tip)
    assert "already" in done.stdout


def test_rebuild_of_the_same_commit_writes_its_digest(world: World) -> None:
    clone = world.clone()
    commit = world.tip()
    world.write_back(clone, commit, digest("a"))

    assert world.write_back(clone, commit, digest("b")).returncode == 0

    assert world.manifest() == expected(commit, digest("b"))


def test_two_racing_runs_both_end_well_and_the_newer_commit_wins(world: World) -> None:
    first, second = world.clone(), world.clone()
    older = world.change(first, {"eval/task.txt": "2\n"}, "Older")
    newer = world.change(second, {"eval/task.txt": "3\n"}, "Newer")
    # Both have fetched the same tip before either may push: the hook holds the first push until the second has come.
    gate = world.folder / "gate"
    gate.mkdir()
    world.hook(
        f'cd "{gate}"; touch $$; n=0; while [ $(ls | wc -l) -lt 2 ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done'
    )

    runs = [world.start(first, older, digest("a")), world.start(second, newer, digest("b"))]
    said = [run.communicate(timeout=60) for run in runs]

    assert [run.returncode for run in runs] == [0, 0], said
    assert "attempt 2 of" in said[0][0] + said[1][0]
    assert world.manifest() == expected(newer, digest("b"))


def test_run_overtaken_by_a_newer_commit_writes_nothing(world: World) -> None:
    clone = world.clone()
    older = world.change(clone, {"eval/task.txt": "2\n"}, "Older")
    newer = world.change(clone, {"eval/task.txt": "3\n"}, "Newer")
    world.write_back(clone, newer, digest("b"))
    tip = world.tip()

    done = world.write_back(clone, older, digest("a"))

    assert (done.returncode, world.tip()) == (0, tip)
    assert f"records {newer}, which is newer than {older[:12]}" in done.stdout


def test_ancestry_is_known_in_a_shallow_checkout(world: World) -> None:
    clone = world.clone()
    older = world.change(clone, {"eval/task.txt": "2\n"}, "Older")
    newer = world.change(clone, {"eval/task.txt": "3\n"}, "Newer")
    world.write_back(clone, newer, digest("b"))
    shallow = world.clone("--depth=1")

    done = world.write_back(shallow, older, digest("a"))

    assert done.returncode == 0, done.stderr
    assert world.manifest() == expected(newer, digest("b"))


def test_commit_of_another_branch_is_not_written(world: World) -> None:
    clone = world.clone()
    elsewhere = world.change(clone, {"eval/task.txt": "2\n"}, "On a topic branch", push=False)
    done = world.write_back(clone, elsewhere, digest("a"))
    assert done.returncode == 2
    assert f"--commit {elsewhere} is not on main" in done.stderr
    assert world.manifest() == JOB


def test_recorded_commit_outside_the_history_is_replaced(world: World) -> None:
    clone = world.clone()
    commit = world.change(clone, {MANIFEST: JOB.replace(PLACEHOLDER, "f" * 40)}, "Record a rewritten commit")

    assert world.write_back(clone, commit, digest("a")).returncode == 0

    assert world.manifest() == expected(commit, digest("a"))


def test_human_edit_made_during_the_build_survives(world: World) -> None:
    clone, human = world.clone(), world.clone()
    commit = world.change(clone, {"eval/task.txt": "2\n"}, "Change the task")
    edited = JOB.replace("  completions: 1\n", "  completions: 1  # one for now\n\n\n  parallelism: 1\n")
    world.change(human, {MANIFEST: edited, "README.md": "Hello\n"}, "Edit by hand")

    assert world.write_back(clone, commit, digest("a")).returncode == 0

    assert world.manifest() == expected(commit, digest("a"), edited)
    assert world.git(world.remote, "show", "main:README.md") == "Hello"


def test_push_rejected_in_the_middle_is_tried_again_on_the_new_tip(world: World) -> None:
    clone, human = world.clone(), world.clone()
    commit = world.tip()
    edited = JOB.replace("restartPolicy: Never", "restartPolicy: OnFailure")
    human_commit = world.change(human, {MANIFEST: edited}, "Edit by hand", push=False)
    world.git(human, "push", "--quiet", "origin", "HEAD:refs/heads/wip")
    # The human's push lands while ours is on its way: the server moves main before it looks at our update.
    world.hook(
        f'if [ ! -e "{world.folder}/done" ]; then touch "{world.folder}/done"; '
        f"env -u GIT_QUARANTINE_PATH -u GIT_OBJECT_DIRECTORY git update-ref refs/heads/main {human_commit}; fi"
    )

    done = world.write_back(clone, commit, digest("a"))

    assert done.returncode == 0, done.stderr
    assert "attempt 2 of" in done.stdout
    assert world.manifest() == expected(commit, digest("a"), edited)


def test_branch_that_always_moves_ends_in_a_plain_message(world: World) -> None:
    clone = world.clone()
    tip = world.tip()
    world.hook(
        "env -u GIT_QUARANTINE_PATH -u GIT_OBJECT_DIRECTORY sh -c '"
        'new=$(git commit-tree -p main -m more "main^{tree}"); git update-ref refs/heads/main $new\''
    )

    done = world.write_back(clone, tip, digest("a"), "--attempts", "3")

    assert done.returncode == 5
    assert "main has moved on origin; gave up after 3 attempts" in done.stderr
    assert world.manifest() == JOB


@pytest.mark.parametrize(
    "said",
    ["GH006: Protected branch update failed for refs/heads/main.", "Changes must be made through a pull request."],
)
def test_protected_branch_names_the_two_ways_at_once(world: World, said: str) -> None:
    clone = world.clone()
    attempts = world.folder / "attempts"
    world.hook(f'echo x >> "{attempts}"; echo "error: {said}" >&2; exit 1')

    done = world.write_back(clone, world.tip(), digest("a"))

    assert done.returncode == 3
    for words in (
        said,
        "App token",
        "WRITE_BACK_TOKEN",
        "pull request",
        "--branch",
        "docs/ci.md",
        f"{IMAGE}@{digest('a')}",
    ):
        assert words in done.stderr
    assert attempts.read_text(encoding="utf-8") == "x\n", "a refusal is not tried again"
    assert world.manifest() == JOB


def test_unreachable_remote_is_told_from_a_refusal(world: World) -> None:
    clone = world.clone()
    done = world.write_back(
        clone, world.tip(), digest("a"), "--remote", f"file://{world.folder}/gone", "--attempts", "2"
    )
    assert done.returncode == 5
    assert "cannot fetch main" in done.stderr


def test_token_opens_the_http_remote_and_reaches_no_other_program(world: World) -> None:
    clone = world.clone()
    world.environment["WRITE_BACK_TOKEN"] = "canary-token"
    # --validate sees what other programs may see.
    validate = world.folder / "validate.sh"
    validate.write_text(f'#!/bin/sh\nenv > "{world.folder}/seen"\n', encoding="utf-8")
    validate.chmod(0o755)
    world.git(world.remote, "config", "http.receivepack", "true")

    with http_remote(world.remote, token="canary-token") as url:
        world.git(clone, "remote", "set-url", "origin", url)
        done = world.write_back(clone, world.tip(), digest("a"), "--validate", str(validate))

    assert done.returncode == 0, done.stderr
    assert digest("a") in world.manifest()
    assert "canary-token" not in (world.folder / "seen").read_text(encoding="utf-8") + done.stdout + done.stderr
    assert "canary-token" not in (clone / ".git" / "config").read_text(encoding="utf-8")


@pytest.mark.parametrize(("token", "code"), [("right", 3), ("wrong", 5)])
def test_token_without_the_right_to_push(world: World, token: str, code: int) -> None:
    clone = world.clone()
    world.environment["WRITE_BACK_TOKEN"] = token
    with http_remote(world.remote, token="right", may_push=False) as url:
        world.git(clone, "remote", "set-url", "origin", url)
        done = world.write_back(clone, world.tip(), digest("a"), "--attempts", "2")
    assert done.returncode == code
    assert ("contents: write" if token == "right" else "cannot fetch main") in done.stderr
    assert world.manifest() == JOB


def test_manifest_that_the_check_refuses_is_not_pushed(world: World) -> None:
    clone = world.clone()
    done = world.write_back(clone, world.tip(), digest("a"), "--validate", "grep -n sidecar-is-fine")
    assert done.returncode == 2
    assert f"{MANIFEST} was refused by `grep -n sidecar-is-fine`, so nothing was pushed" in done.stderr
    assert world.manifest() == JOB


def test_check_is_given_the_new_manifest(world: World) -> None:
    clone = world.clone()
    done = world.write_back(clone, world.tip(), digest("a"), "--validate", f"grep -q {digest('a')}")
    assert done.returncode == 0, done.stderr
