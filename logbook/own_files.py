"""The yaml files in folders given by --config-dir: what they may say, and how Hydra reads them.

Such folders are passed around, so what lies in one is taken as anybody's. A file is plain data and
sets keys of ours alone: none of Hydra's, nothing looked up elsewhere, no leave to import. That is
seen to before Hydra gets it, whoever names it: a choice, a preset, or another file.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf

from logbook.build import GROUPS
from logbook.config import CONFIGS, template
from logbook.errors import UserError
from logbook.plain_yaml import NAME, BadYaml, choices_in, parse, read_own
from logbook.when import WHEN, terms

_WHOLE = "_global_"
_PLACES = {*GROUPS, "preset"}
"""Where a file may lie: the first folder of its path."""
_MOST = 100  # files that one file may take in


class OwnFolders(ConfigSource):  # type: ignore[misc, unused-ignore]
    """The folders of one command line, for Hydra; its path holds their names, spelt in hex."""

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider=provider, path=path)
        self.folders = [Path(f) for f in json.loads(bytes.fromhex(self.path))]

    @staticmethod
    def scheme() -> str:
        """How Hydra tells our search path from its own."""
        return "own"

    def load_config(self, config_path: str) -> ConfigResult:
        """A file as plain data. Raises UserError that names it, the line and the remedy."""
        data, header = self._read(config_path)
        self._take_in(config_path, data, [], [])
        config = OmegaConf.create(data)
        return ConfigResult(self.provider, self.full_path(), config, header)

    def available(self) -> bool:
        """Whether the folders are there."""
        return all(f.is_dir() for f in self.folders)

    def is_group(self, config_path: str) -> bool:
        """Whether there is such a folder."""
        return _place(config_path) and any((f / config_path).is_dir() for f in self.folders)

    def is_config(self, config_path: str) -> bool:
        """Whether there is anything of that name; whether it can be read is told by reading it."""
        return self._find(config_path) is not None

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """The names of the files in a folder."""
        if not _place(config_path) or results_filter is ObjectType.GROUP:
            return []
        return sorted({p.stem for f in self.folders for p in choices_in(f / config_path)})

    def _find(self, config_path: str) -> Path | None:
        group, _, name = config_path.removesuffix(".yaml").rpartition("/")
        if not _place(group) or not NAME.fullmatch(name):
            return None
        paths = (f / group / f"{name}.yaml" for f in self.folders)
        return next((p for p in paths if p.is_symlink() or p.exists()), None)

    def _read(self, config_path: str) -> tuple[dict[str, Any], dict[str, str | None]]:
        path = self._find(config_path)
        if path is None:
            raise UserError(f"{config_path}: no such file in {', '.join(map(str, self.folders))}")
        group = config_path.rpartition("/")[0]
        text = read_own(path)
        try:
            data, lines = parse(text)
            header = ConfigSource._get_header_dict(text[:512])
            return _held(data, lines, group, header), header
        except ValueError as e:
            raise UserError(f"{path}: {e}") from None

    def _take_in(
        self, config_path: str, data: Mapping[str, Any], chain: Sequence[str], every: Any
    ) -> None:
        """Follow what a file takes in: refuse a circle, and what would never end."""
        every.append(config_path)
        chain = [*chain, config_path]
        for other in _taken_in(config_path.rpartition("/")[0], data):
            if (CONFIGS / f"{other}.yaml").is_file() or self._find(other) is None:
                continue  # ours, or Hydra says that it is missing
            if other in chain or len(every) > _MOST:
                how = f"itself ({' -> '.join([*chain, other])})" if other in chain else "too much"
                raise UserError(f"{self._find(config_path)}: by its defaults it takes in {how}")
            self._take_in(other, self._read(other)[0], chain, every)


SourcesRegistry.instance().register(OwnFolders)


def search_path(config_dirs: list[str] | None) -> list[str]:
    """The override that adds a person's config folders. Raises UserError for one that is none."""
    if not config_dirs:
        return []
    folders = [Path(f) for f in config_dirs]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"--config-dir {folder}: no such folder")
        if (folder / "tuned").exists():
            raise UserError(
                f"{folder / 'tuned'} is not read any more: what tuned/SKILL-AGENT.yaml said stands "
                "in skill/SKILL.yaml, as when: {agent=AGENT: {...}}"
            )
    spelt = json.dumps([str(f.resolve()) for f in folders]).encode().hex()
    return [f"hydra.searchpath=['own://{spelt}']"]


@functools.cache
def _keys() -> frozenset[str]:
    """The keys that stand at the top of a config of any command."""
    commands = ("pretrain", "metatrain", "finetune")
    return frozenset(GROUPS).union(*(template(c) for c in commands))


def _held(
    data: Any, lines: Mapping[str, int], group: str, header: Mapping[str, str | None]
) -> dict[str, Any]:
    """What a file holds, if it may say that. Raises BadYaml."""
    if data is None:
        raise BadYaml("it is empty; want keys and values, such as name: NAME")
    if not isinstance(data, dict):
        raise BadYaml("it holds no keys; want keys and values, such as name: NAME", 1)
    package = header.get("package")
    shared = group.partition("/")[0] not in GROUPS
    if set(header) != {"package"} or package not in (
        [_WHOLE] if shared else [None, "_group_", _WHOLE, group]
    ):
        raise BadYaml(
            f"it stands in {group}/, so it begins with the line '# @package {_WHOLE}'"
            + ("" if shared else ", or without any such line"),
            1,
        )
    for key, value in data.items():
        line = lines[key]
        if not key.isidentifier() or key.startswith("_"):
            raise BadYaml(f"{key[:40]!r} is no name of a key", line)
        if key == "defaults":
            _defaults(value, lines)
            continue
        if package == _WHOLE and key not in _keys():
            raise BadYaml(f"{key}: a file sets none but {', '.join(sorted(_keys()))}", line)
        if package == _WHOLE and key in GROUPS and not isinstance(value, dict):
            raise BadYaml(f"{key}: want keys below it; to choose one: defaults", line)
        if key == WHEN and package != _WHOLE:
            _overlays(key, value, lines)
        else:
            _plain(key, value, lines)
    return data


def _plain(where: str, value: Any, lines: Mapping[str, int]) -> None:
    """Refuse keys that are no names, and values that are to be looked up elsewhere."""
    if isinstance(value, dict):
        for inner in value:
            if inner == WHEN:
                _overlays(f"{where}.{inner}", value[inner], lines)
                continue
            if not inner.isidentifier() or inner.startswith("_"):
                line = lines.get(f"{where}.{inner}")
                raise BadYaml(f"{inner[:40]!r} is no name of a key", line)
            _plain(f"{where}.{inner}", value[inner], lines)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            _plain(f"{where}.{i}", inner, lines)
    elif isinstance(value, str) and "${" in value:
        raise BadYaml(f"{where} is an interpolation; write the value itself", lines.get(where))


def _overlays(where: str, value: Any, lines: Mapping[str, int]) -> None:
    """Refuse a `when` whose conditions are none, or whose values are no plain data."""
    if not isinstance(value, dict):
        raise BadYaml("when: want {CONDITION: {KEY: VALUE}}", lines[where])
    for condition, values in value.items():
        line = lines[f"{where}.{condition}"]
        try:
            terms(condition)
        except ValueError as e:
            raise BadYaml(str(e), line) from None
        if not isinstance(values, dict):
            raise BadYaml(f"when: {condition}: want {{KEY: VALUE}}", line)
        _plain(f"{where}.{condition}", values, lines)


def _defaults(entries: Any, lines: Mapping[str, int]) -> None:
    """Refuse a list of defaults that names anything but our groups and their choices."""
    if not isinstance(entries, list):
        raise BadYaml("defaults: want a list, such as [mine, _self_]", lines["defaults"])
    for i, entry in enumerate(entries):
        line = lines[f"defaults.{i}"]
        name = entry
        if isinstance(entry, dict) and len(entry) == 1:
            (key, name), *_ = entry.items()
            *words, place = key.split(" ")
            known = place.startswith("/") and _place(place[1:]) and place[1:] in _PLACES
            if not known or not set(words) <= {"override", "optional"}:
                there = ", ".join(f"/{g}" for g in sorted(_PLACES))
                raise BadYaml(f"defaults: {key[:60]}: want one of {there}", line)
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise BadYaml(f"defaults: {str(name)[:60]}: want the name of a choice", line)


def _place(group: str) -> bool:
    """Whether files may lie in this folder of a config folder."""
    first, *rest = group.split("/")
    return first in _PLACES and all(NAME.fullmatch(part) for part in rest)


def _taken_in(group: str, data: Mapping[str, Any]) -> list[str]:
    """The paths of what the defaults of a file in `group` name."""
    found = []
    for entry in data.get("defaults", []):
        if isinstance(entry, str) and entry != "_self_":
            found.append(f"{group}/{entry}")
        elif isinstance(entry, dict):
            (key, name), *_ = entry.items()
            found.append(f"{key.split(' ')[-1].removeprefix('/')}/{name}")
    return found
