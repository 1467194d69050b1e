"""The manifests that `make render` writes are the objects that an update declares."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from components import render
from tests.support import program, strategies

HASH = "$2a$10$" + "x" * 53


def rendered(folder: Path) -> list[dict[str, Any]]:
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    return [yaml.safe_load((folder / name).read_text()) for name in listed]


def without_null(value: Any) -> Any:  # noqa: ANN401 (JSON)
    """Return a value as the API server takes it: a null is nothing."""
    if isinstance(value, dict):
        return {key: without_null(each) for key, each in value.items() if each is not None}
    return [without_null(each) for each in value] if isinstance(value, list) else value


def without_pulumis(inputs: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = without_null(inputs)
    annotations = plain["metadata"].pop("annotations", {})
    kept = {key: value for key, value in annotations.items() if not key.startswith("pulumi.com/")}
    plain["metadata"] |= {"annotations": kept} if kept else {}
    return plain


def sorted_objects(objects: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(each, sort_keys=True) for each in objects)


@given(drawn=strategies.stacks(), owner=st.sampled_from(["argocd", "pulumi", "none"]))
@settings(strategies.RUNS_THE_PROGRAM, max_examples=20)
def test_every_object_of_an_update_is_a_file_and_no_secret_is(
    tmp_path: Path, drawn: tuple[strategies.Groups, dict[str, str]], owner: str
) -> None:
    groups, secrets = drawn
    groups = {**groups, "evaluation": {**groups["evaluation"], "owner": owner}}
    groups["argocd"] = {key: value for key, value in groups["argocd"].items() if key != "context"}
    stack = program.run(groups, secrets)
    folder = tmp_path / "rendered"
    notes = render.write(render.declared(stack.settings), folder)

    ours = rendered(folder)
    declared = [each.inputs for each in stack.kubernetes() if each.kind not in {"Secret", "Release"}]
    assert sorted_objects(ours) == sorted_objects([without_pulumis(each) for each in declared])
    kinds = [each["kind"] for each in ours]
    assert kinds.index("Namespace") == 0
    assert kinds[-1] == "Application"
    texts = [file.read_text() for file in folder.glob("[0-9]*.yaml")]
    # In one order, so that the difference to the last folder in Git is what changed.
    assert texts == [yaml.safe_dump(yaml.safe_load(each), allow_unicode=True) for each in texts]
    assert "canary" not in "".join(each.read_text() for each in folder.iterdir())
    for each in stack.kubernetes():
        if each.kind == "Secret":
            told = f"{each.metadata['name']} with {', '.join(sorted(each.inputs['stringData']))}"
            assert any(note.endswith(told) for note in notes), notes


def test_the_password_of_the_admin_is_not_in_the_values(tmp_path: Path) -> None:
    stack = program.load(program.stack_file("prod"), {"argocd-admin-hash": HASH})
    notes = render.write(render.declared(stack), tmp_path / "out")
    assert HASH not in (tmp_path / "out" / "argocd-values.yaml").read_text()
    assert [note for note in notes if "password" in note]
    assert [note for note in notes if note.startswith("before it: helm upgrade --install argocd argo-cd --repo ")]


def test_a_folder_of_others_is_left_alone_and_its_own_is_made_anew(tmp_path: Path) -> None:
    resources = render.declared(program.load(program.stack_file("prod")))
    (tmp_path / "mine").touch()
    with pytest.raises(render.RenderError, match=r"holds other files: name a folder of its own \(DIR=…\)"):
        render.write(resources, tmp_path)
    folder = tmp_path / "out"
    render.write(resources, folder)
    (folder / "00-old.yaml").touch()
    render.write(resources, folder)
    assert not (folder / "00-old.yaml").exists()


@pytest.mark.parametrize("way", ["build", "lookup"])
def test_what_needs_a_registry_is_refused(way: str) -> None:
    groups = program.stack_file("dev")
    groups["image"] = {"repository": "r.example/x", way: True}
    with pytest.raises(render.RenderError, match=r"image\.digest"):
        render.declared(program.load(groups))
