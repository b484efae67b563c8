"""How the registries are filled: by ours, by named modules and by entry points."""

import sys
from pathlib import Path

import pytest

from dmx.errors import ConfigError
from dmx.registry import REGISTRIES, load


def test_loading_twice_changes_nothing() -> None:
    load()
    before = {kind: dict(registry) for kind, registry in REGISTRIES.items()}
    load()
    assert {kind: dict(registry) for kind, registry in REGISTRIES.items()} == before
    assert [kind for kind, registry in before.items() if not registry] == []


def test_every_component_knows_its_own_name_and_kind() -> None:
    load()
    for registry in REGISTRIES.values():
        for name, component in registry.items():
            assert (component.name, component.kind) == (name, registry.kind)
            assert component.params.component is component


def test_every_plug_in_that_cannot_be_imported_is_named_in_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "torn_extras-1.0.dist-info"  # what an installer writes
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: torn-extras\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[dmx.components]\nlosses = torn_extras:anything\n")
    (tmp_path / "torn_extras.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load(["no_such_module"])
    assert str(caught.value) == (
        "the list of plug-ins has 2 problems:\n"
        "  entry point 'losses': module 'torn_extras' cannot be imported "
        "(ModuleNotFoundError: No module named 'no_such_library'); install it, put it on PYTHONPATH, or mend it\n"
        "  plugins: module 'no_such_module' cannot be imported "
        "(ModuleNotFoundError: No module named 'no_such_module'); install it, put it on PYTHONPATH, or mend it"
    )
    assert "torn_extras" not in sys.modules
