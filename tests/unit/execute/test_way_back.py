"""The way back of a plan of several components, where a hook's undo fails."""

from __future__ import annotations

from pathlib import Path

from noodle_engine import Noodle


def release(folder: Path, name: str, version: str, more: str = "") -> Path:
    made = folder / "releases" / f"{name}-{version}"
    made.mkdir(parents=True)
    (made / "payload").write_text(f"{name} {version}")
    (made / "noodle.toml").write_text(
        f'format = 1\n[component]\nname = "{name}"\nversion = "{version}"\nkind = "file"\n'
        f'[payload]\npath = "payload"\n[target]\npath = "{folder / "srv" / name}"\n{more}'
    )
    return made


def test_a_hook_whose_undo_fails_leaves_no_component_new(tmp_path: Path) -> None:
    """Decision 0005: every exchange is taken back before any hook's undo."""
    (tmp_path / "srv").mkdir()
    stubborn = '[[hooks]]\nat = "after-swap"\ncommand = ["true"]\nundo = ["false"]\n'
    sick = f'[[health]]\nfile = "{tmp_path}/never"\npasses = 1\ninterval = 0.01\nwithin = 0.02\n'
    Noodle.init(tmp_path / "home")
    with Noodle.open(tmp_path / "home") as noodle:
        for name in ("api", "web"):
            noodle.add(release(tmp_path, name, "1.0.0"))
        noodle.add(release(tmp_path, "api", "2.0.0"))
        noodle.add(release(tmp_path, "web", "2.0.0", stubborn + sick))
        noodle.apply(["api@1.0.0", "web@1.0.0"])
        view = noodle.apply(["api@2.0.0", "web@2.0.0"])
    assert view is not None
    assert view.hold is not None
    assert view.step is not None
    assert "after-swap:web" in view.step.id
    for name in ("api", "web"):
        assert (tmp_path / "srv" / name).read_text() == f"{name} 1.0.0"
