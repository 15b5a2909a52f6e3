"""Where every value of a config comes from: the lines of `--cfg why`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.types import RunMode

from logbook import swept
from logbook.compose import Composer, Job, composer
from logbook.config import CONFIGS, inherited, read_yaml
from logbook.heritage import liked_by, record_for
from logbook.identity import flat
from logbook.when import ASIDE, WHEN, Laid


class _File(NamedTuple):
    """A yaml file that a config was composed of: its name, place in the config, and data."""

    name: str
    path: str  # as Hydra has it: skill/diayn
    package: str
    data: dict[str, Any]

    def sets(self) -> set[str]:
        """The dotted keys of the whole config that it sets."""
        prefix = f"{self.package}." if self.package else ""
        return {
            prefix + key for key in flat({k: v for k, v in self.data.items() if k not in ASIDE})
        }

    def lays(self, key: str, condition: str) -> bool:
        """Whether it sets this dotted key under this condition."""
        said = flat((self.data.get(WHEN) or {}).get(condition) or {})
        return key in said or key.removeprefix(f"{self.package}.") in said


def why(
    command: str, overrides: list[str], config_dirs: list[str] | None, many: bool
) -> Iterator[str]:
    """Lines `KEY=VALUE  SOURCE`: of one run, or of each of `-m` in turn. Raises UserError."""
    with composer(command, config_dirs) as open_:
        choices = open_.choices_of(overrides, many)
        swept_keys = swept.varying(choices)
        for parsed in open_.runs(choices):
            job, _, words, laid = open_.composed(parsed)
            if many:
                yield f"# {swept.name(parsed, swept_keys)}"
            sources = _sources(job, list(_files(open_, words)), open_, parsed, laid)
            sources |= {key: "sweep" for key in swept_keys & sources.keys()}
            lines = {k: f"{k}={_typed(v)}" for k, v in flat(job.config).items()}
            width = min(40, max(map(len, lines.values())))
            yield from (f"{line:<{width}}  {sources[key]}" for key, line in lines.items())


def _sources(
    job: Job,
    files: list[_File],
    open_: Composer,
    parsed: list[Override],
    laid: Mapping[str, Laid],
) -> dict[str, str]:
    """Where each dotted key of a run's config comes from; later wins."""
    found: dict[str, str] = {}
    for f in (f for f in files if not f.path.startswith("preset/")):
        found |= dict.fromkeys(f.sets(), f.name)
    found |= {key: _laid(key, source, files) for key, (_, source) in laid.items()}
    for f in (f for f in files if f.path.startswith("preset/")):
        found |= dict.fromkeys(f.sets(), f.name)
    keys = flat(job.config)
    if nodes := inherited(open_.command):
        record = record_for(job.config, open_.command)
        found |= {k: f"from={job.config['from']}" for k in keys if k.partition(".")[0] in nodes}
        for key, (_, source) in liked_by(open_.command, record).items():
            group, name = key.partition(".")[0], record[key.partition(".")[0]]["name"]
            found[key] = f"configs/{group}/{name}.yaml, {source.partition(', ')[2]}"
    for override in parsed:
        typed = override.key_or_group
        if typed not in open_.choices:
            found |= {k: "command line" for k in keys if f"{k}.".startswith(f"{typed}.")}
    return {key: found.get(key, "configs/older.yaml") for key in keys}


def _laid(key: str, source: str, files: list[_File]) -> str:
    condition = source.partition(", when ")[2]
    name = next(f.name for f in reversed(files) if f.lays(key, condition))
    return f"{name}, when {condition}"


def _files(open_: Composer, words: tuple[str, ...]) -> Iterator[_File]:
    """The files of a config, in the order in which they are merged."""
    loader = GlobalHydra.instance().config_loader()
    found = loader.compute_defaults_list(open_.command, [*open_.search, *words], RunMode.RUN)
    for entry in found.defaults:
        if entry.package is None or entry.package.partition(".")[0] == "hydra":
            continue
        path = next(
            p for f in (CONFIGS, *open_.folders) if (p := f / f"{entry.config_path}.yaml").is_file()
        )
        name = f"configs/{entry.config_path}.yaml" if path.is_relative_to(CONFIGS) else str(path)
        package = "" if entry.package == "_global_" else entry.package
        data = {k: v for k, v in read_yaml(path).items() if k not in ("defaults", "hydra")}
        yield _File(name, entry.config_path, package, data)


def _typed(value: Any) -> str:
    """A value as one types it."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
