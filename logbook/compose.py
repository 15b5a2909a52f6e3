"""The command line as Hydra reads it: groups, overrides, sweeps; every mistake in one line."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from logbook import leave, swept, words
from logbook.build import GROUPS, nearest, trait
from logbook.config import CONFIGS, check, inherited, read_yaml, selectable
from logbook.errors import UserError
from logbook.identity import flat
from logbook.origin import name_after
from logbook.overrides import MOST_RUNS, assigned, read_one, reason, values_of
from logbook.own_files import search_path
from logbook.plain_yaml import choices_in
from logbook.when import DECLARED, WHEN, Facts, Laid, followed, nested, overlays, without

OmegaConf.register_new_resolver("run_name", lambda f: name_after(str(f or "")), replace=True)


def env_of(folder: Path) -> str | None:
    """The env of a pretrain run, or of proposals that were saved; None if the folder says none."""
    try:
        if (folder / "config.yaml").is_file():
            found = read_yaml(folder / "config.yaml")
        else:
            from logbook import checkpoint  # slow, and seldom asked

            newest = checkpoint.newest(folder.resolve())[0]
            found = checkpoint.load(newest, only=("env",)) if newest else None
    except (UserError, OSError, ValueError):
        return None  # what goes on from it says more
    node = found.get("env") if isinstance(found, Mapping) else None
    return str(node["name"]) if isinstance(node, Mapping) and "name" in node else None


@dataclass(frozen=True)
class Job:
    """One run as the command line describes it: `config` is plain, checked data."""

    config: dict[str, Any]
    run_dir: Path
    overrides: tuple[str, ...]


class Composed(NamedTuple):
    """A run, and how it came about."""

    job: Job
    config: DictConfig
    """With Hydra's own part."""
    words: tuple[str, ...]
    """The overrides, after the choices that others need."""
    laid: dict[str, Laid]
    """What the conditions in yaml files set."""


def compose(command: str, overrides: list[str], config_dirs: list[str] | None = None) -> Job:
    """Compose `configs/COMMAND.yaml` with the overrides and check the result.

    Later wins: the command's yaml, the chosen yaml files, what these say `when` others are chosen,
    the preset, the command line. Raises `UserError`.
    """
    with composer(command, config_dirs) as open_:
        (parsed,) = open_.runs(open_.choices_of(overrides, False))
        return open_.composed(parsed).job


def sweep(command: str, overrides: list[str], config_dirs: list[str] | None = None) -> list[Job]:
    """The runs of `-m`: every combination of the swept values, in Hydra's order."""
    with composer(command, config_dirs) as open_:
        choices = open_.choices_of(overrides, True)
        wanted = open_.runs(choices)
        jobs, composed, *_ = zip(*map(open_.composed, wanted), strict=True)
        folders = swept.places(wanted, composed, swept.varying(choices))
        return [replace(job, run_dir=f) for job, f in zip(jobs, folders, strict=True)]


def read(command: str, overrides: list[str]) -> None:
    """Refuse what Hydra's grammar, or we, cannot read. Raises `UserError`."""
    with composer(command, None) as open_:
        for text in as_hydra(command, overrides, many=True):
            open_.parse(text)


def as_hydra(command: str, overrides: list[str], many: bool = False) -> list[str]:
    """The overrides as Hydra's grammar wants them, of one run or of `many`.

    Paths and formulas are quoted; keys of a node that an earlier run fills in, and arguments for an
    environment's constructor, may be new to Hydra.
    """
    nodes, found = inherited(command), []
    for text in overrides:
        key, equals, _ = text.partition("=")
        group, dot, rest = key.lstrip("+").partition(".")
        if group in nodes and (not dot or rest == "name"):
            raise UserError(
                f"{text}: {command} takes its {group} from the run named by from=RUN, trained on "
                f"it; only other keys of it can be changed, as {group}.KEY=VALUE"
            )
        new = group in nodes or any(f"{key}.".startswith(f"{a}.") for a in leave.ARGUMENTS)
        if new and equals and not key.startswith(("+", "~")):
            text = f"++{text}"
        found.append(words.typed(text, many))
    return found


def settled(config: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A checked config whose env has leave to be built, from what was typed. Raises UserError."""
    if "env" not in config:
        return config
    typed: set[str] = set()
    for text in overrides:
        key = text.partition("=")[0].strip().lstrip("+")
        if any(f"{key}.".startswith(f"{a}.") for a in leave.ARGUMENTS):
            typed |= flat({key: assigned(text.lstrip("+"))[1]}).keys()
    passed = leave.arguments(config["env"])
    given = not passed or flat({"env": passed}).keys() <= typed
    return {**config, "env": leave.settle(config["env"], given)}


def plain(config: DictConfig) -> dict[str, Any]:
    """The composed config as plain data, without Hydra's own part."""
    try:
        ours = OmegaConf.masked_copy(config, [str(k) for k in config if k != "hydra"])
        found = OmegaConf.to_container(ours, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as e:
        key = getattr(e, "full_key", None) or "config"
        raise UserError(f"{key}: {str(e).splitlines()[0]}") from None
    assert isinstance(found, dict)
    return {str(k): v for k, v in found.items()}


@contextmanager
def composer(command: str, config_dirs: list[str] | None) -> Iterator[Composer]:
    """Hydra's composition for one command line, closed at the end. Raises `UserError`."""
    extra = search_path(config_dirs)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        yield Composer(command, [Path(f) for f in config_dirs or []], extra)


@functools.cache
def _ours() -> dict[str, list[str]]:
    """The choices of every group of ours; Hydra, which must be open, is slow to list them."""
    options = GlobalHydra.instance().config_loader().get_group_options
    return {g: options(g) for g in options("", ObjectType.GROUP) if g != "hydra"}


class Composer:
    """Hydra's composition, held open for one command line."""

    def __init__(self, command: str, folders: list[Path], extra: list[str]) -> None:
        self.command, self.folders, self.search = command, folders, extra
        found = {group: set(names) for group, names in _ours().items()}
        for folder in folders:
            for path in (p for group in folder.glob("*") for p in choices_in(group)):
                found.setdefault(path.parent.name, set()).add(path.stem)
        self.choices = {group: sorted(names) for group, names in found.items()}

    def parse(self, text: str) -> Override:
        """One override of the command line."""
        key, equals, value = text.partition("=")
        if not text.startswith("~") and (not equals or not key.strip("+ ") or not value.strip()):
            lacks = "a value" if key and equals else "a key" if equals else "a key and a value"
            if key in self.choices:
                lacks = f"a value (choices: {', '.join(self.choices[key])})"
            raise UserError(f"{text!r} lacks {lacks}: write KEY=VALUE, such as skill.num_skills=16")
        return read_one(text)

    def choices_of(self, overrides: list[str], many: bool) -> list[list[Override]]:
        """The overrides of one value each that stand for each that was typed. Raises UserError."""
        choices: list[list[Override]] = []
        for override in map(self.parse, as_hydra(self.command, overrides, many)):
            if not override.is_sweep_override():
                choices.append([override])
            elif many:
                choices.append([self.parse(text) for text in values_of(override)])
            else:
                line = override.input_line
                raise UserError(f"{line} asks for several runs: add -m (or quote it)")
        return choices

    def runs(self, choices: list[list[Override]]) -> list[list[Override]]:
        """The overrides of each run: every combination. Raises UserError for too many."""
        count = math.prod(map(len, choices))
        if count > MOST_RUNS:
            raise UserError(f"-m: these are {count:,} runs; at most {MOST_RUNS:,} at once")
        return [list(one) for one in itertools.product(*choices)]

    def composed(self, parsed: list[Override]) -> Composed:
        """The run that these overrides describe. Raises UserError."""
        words = texts = tuple(str(o.input_line) for o in parsed)
        for override in parsed:
            if override.is_delete() and override.key_or_group not in self.choices:
                raise UserError(f"{override.input_line}: no key can be left out; give it a value")
        if leave.asked(texts):
            leave.give()
        chosen = [o for o in parsed if o.key_or_group in self.choices]
        for override in chosen:
            self._check_choice(override)
        try:
            composed = self._compose(texts)
            whole = plain(composed)
            typed = {o.key_or_group for o in parsed}
            if needed := followed(whole, selectable(self.command), typed):
                words = (*needed, *texts)
                composed = self._compose(words)
                whole = plain(composed)
            laid = overlays(whole, self._facts(whole, composed))
            if laid:
                composed = self._compose(words, laid)
            run_dir = Path(composed.hydra.run.dir)
        except UserError:
            raise
        except Exception as e:  # files are seen to by now: it is what was typed
            with suppress(HydraException, OmegaConfBaseException, ValueError):
                known = without(plain(self._compose(str(o.input_line) for o in chosen)))
                for override in parsed:
                    self._check_key(override, known)
            why = reason(e)
            if "hydra/launcher" in why:
                why += ": pip install hydra-joblib-launcher (or hydra-submitit-launcher)"
            raise UserError(f"{' '.join(texts)[:300]}: {why}") from None
        try:
            config = settled(check(without(plain(composed)), self.command), texts)
            return Composed(Job(config, run_dir, texts), composed, words, laid)
        except UserError as e:
            key = str(e).partition(":")[0].partition("=")[0]
            preset = composed.hydra.runtime.choices.get("preset")
            if any(key == o.key_or_group for o in parsed):
                raise
            if key in laid:
                raise UserError(f"{e} ({laid[key][1]} sets it)") from None
            if preset is None:
                raise
            raise UserError(f"{e} (preset={preset} sets it, for other choices)") from None

    def _facts(self, config: Mapping[str, Any], composed: DictConfig) -> Facts:
        """What conditions in yaml files may ask of this config.

        Its world is that of `env`, or of the run that it goes on from, even if only a copy is left.
        """
        choices = composed.hydra.runtime.choices

        def world() -> str | None:
            if "env" in choices:
                return str(config["env"]["name"])
            copy = Path(composed.hydra.run.dir) / "proposals"
            found = (env_of(Path(f)) for f in (config.get("from"), copy) if f)
            return next((name for name in found if name), None)

        def facts(key: str) -> Any:
            if key in DECLARED:
                tasks = config.get("tasks")
                said = trait("tasks", tasks["name"], key, False) if tasks else None
                if said is not None:
                    return said
                env = world()
                return env is not None and trait("env", env, key, key == "body")
            if "." in key:
                return flat(config).get(key)
            if key == "env":
                return choices.get(key) or world()
            return self.command if key == "command" else choices.get(key)

        return facts

    def _compose(self, words: Iterable[str], laid: Mapping[str, Laid] | None = None) -> DictConfig:
        """Hydra's composition, with `laid` between what was chosen and the preset."""
        store = ConfigStore.instance()
        if laid:
            node = nested({key: value for key, (value, _) in laid.items()})
            store.store("overlays", node, group=WHEN, package="_global_")
        try:
            return hydra_compose(self.command, [*self.search, *words], return_hydra_config=True)
        finally:
            store.repo.pop(WHEN, None)

    def _check_choice(self, override: Override) -> None:
        group, value = override.key_or_group, override.value()
        own = selectable(self.command)
        if group in own and (override.is_add() or override.is_force_add()):
            raise UserError(f"{override.input_line}: a choice is made as {group}=NAME, without +")
        if group not in own:
            raise UserError(
                f"{override.input_line}: {self.command} has no {group} to choose; "
                f"it has {', '.join(own)}"
            )
        known = self.choices[group]
        if group not in GROUPS and (override.is_delete() or value is None):
            return
        if override.is_delete():
            raise UserError(f"{override.input_line}: a run needs one (choices: {', '.join(known)})")
        if not isinstance(value, str) or value not in known:
            meant = nearest(str(value), known)
            hint = f"; did you mean {group}={meant}?" if meant else ""
            if group == "env" and re.search(r"-v\d+$|[:/]", str(value)):
                hint = f"; a Gymnasium id is env=gym env.id={value}"
            raise UserError(f"{group}={value}: no such {group}{hint} (choices: {', '.join(known)})")

    def _check_key(self, override: Override, known: Mapping[str, Any]) -> None:
        key = override.key_or_group
        keys = list(_dotted("", known))
        if key in self.choices or key in keys or key.startswith("hydra"):
            return
        if override.is_add() or override.is_force_add():
            return
        last = key.rpartition(".")[2]
        same = [k for k in keys if k.rpartition(".")[2] == last]  # a right name in another group
        near = nearest(key, [*self.choices, *keys])
        meant = same[0] if same else near
        section = key.rpartition(".")[0]
        inside = [k for k in keys if k.startswith(section + ".")] if section else list(known)
        hint = f"did you mean {meant}?" if meant else f"keys: {', '.join(inside or known)}"
        raise UserError(f"{key}: no such key; {hint} (--cfg job shows all)")


def _dotted(prefix: str, node: Mapping[str, Any]) -> Iterator[str]:
    for key, value in node.items():
        yield prefix + key
        if isinstance(value, Mapping):
            yield from _dotted(f"{prefix}{key}.", value)
