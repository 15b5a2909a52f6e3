"""The text of --help, made from the yaml files: their first comments and common keys."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from logbook.config import CONFIGS
from logbook.errors import UserError
from logbook.plain_yaml import choices_in, read_own

_KEY = re.compile(r"(\w+): *(.*?) *(?:# *(.*))?")

_EXAMPLES = {
    "pretrain": """\
  pretrain                                       # {skill} on {env}, with the defaults
  pretrain skill=metra env=ant seed=1 name=wide
  pretrain skill=diayn skill.num_skills=8 env=gym env.id=Pendulum-v1
  pretrain preset=diayn_paper env=hopper
  pretrain -m skill=diayn,metra seed=0,1,2       # six runs; hydra/launcher=joblib: side by side
  pretrain skill=metra --cfg job                 # every key of that choice, and its value
""",
    "metatrain": """\
  metatrain                                      # {learner} on {tasks}, with the defaults
  metatrain learner=rl2 tasks=bandit tasks.arms=5 tasks.pulls=100
  metatrain learner=maml tasks=point_goal seed=1
  metatrain -m learner=maml,pretrained,scratch tasks=point_goal seed=0,1,2
""",
    "finetune": """\
  finetune from=runs/diayn-cheetah/base/0                    # {task}, by {strategy}
  finetune from=runs/diayn-cheetah/base/0 task=run_backward strategy=scratch
  finetune from=runs/diayn-cheetah/base/0 strategy=all       # all strategies, drawn together
  finetune from=runs/diayn-point/base/0 task=waypoints strategy=hierarchy
  finetune from=runs/maml-skills/base/0 strategy=adapt       # a learner that metatrain made
  finetune from=runs/diayn-cheetah/base/0 task=custom \\
    task.reward="-abs(x_velocity - 1.5) - 0.05*sum(act**2)"
""",
}

_NEXT = {
    "pretrain": """\
The same command again goes on with an unfinished run. Other commands: resume RUN goes on from the
folder alone, inspect-skills RUN shows the skills, doctor looks at this machine.
""",
    "finetune": """\
The same command again goes on with an unfinished run. Env and agent are those of the run it goes on
from; their keys can be changed, such as env.max_episode_steps=500 or agent.updates=4.
""",
    "metatrain": """\
The same command again goes on with an unfinished run. Other commands: resume RUN goes on from the
folder alone, evaluate RUN tests a learner on other held-out tasks, or on another family.
""",
}


def help_text(command: str, config_dirs: list[str]) -> str:
    """How to use a command: groups and their choices, common keys, examples."""
    source = (CONFIGS / f"{command}.yaml").read_text(encoding="utf-8")
    defaults = dict(re.findall(r"^  - (\w+): (\w+)$", source, re.M))
    folders = [CONFIGS, *(Path(f) for f in config_dirs)]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"--config-dir {folder}: no such folder")
    lines = [f"Usage: {command} [KEY=VALUE ...] [-m] [--cfg job] [--config-dir FOLDER]", ""]
    lines += [_comment(source), "", "Choices (the starred one is the default)"]
    for group, default in defaults.items():
        choices = sorted({p for f in folders for p in choices_in(f / group)}, key=_stem)
        lines.append(f"  {group}=")
        for path in choices:
            star = "*" if path.stem == default else " "
            about = _about(path)
            entry = f"   {star}{path.stem:<15} {about}".rstrip()
            lines += textwrap.wrap(entry, 100, subsequent_indent=" " * 20, drop_whitespace=False)
    lines += ["", "Common keys"]
    lines += _keys(source.partition("\nhydra:")[0])
    lines += ["  hydra.run.dir=FOLDER         the run folder itself"]
    lines += ["", "Flags"]
    lines += ["  -m, --multirun               one run for every combination of values with commas"]
    lines += ["  --cfg job                    print the whole config and stop"]
    lines += ["  --cfg why                    and where each value comes from"]
    one = next(iter(defaults))
    lines += [f"  --config-dir FOLDER          more choices: FOLDER/{one}/mine.yaml is {one}=mine"]
    lines += ["  --hydra-help                 Hydra's own flags, shell completion among them"]
    lines += ["", "Examples", _EXAMPLES.get(command, "").format(**defaults)]
    return "\n".join(lines) + _NEXT.get(command, "")


def _about(path: Path) -> str:
    """What a file says of itself, or why it cannot be read."""
    try:
        return _comment(read_own(path))
    except UserError as e:
        return f"({e})"


def _stem(path: Path) -> str:
    return path.stem


def _comment(text: str) -> str:
    """The first comment of a yaml file that is not one of Hydra's directives."""
    for line in text.splitlines():
        if not line.startswith("#"):
            return ""
        if not line.startswith("# @"):
            return line.removeprefix("#").strip()
    return ""


def _keys(source: str) -> list[str]:
    """One line a common key: its default and its comment."""
    found, section = [], ""
    for line in source.splitlines():
        indented = line.startswith("  ")
        match = _KEY.fullmatch(line.strip())
        if not match or match[1] == "defaults" or line.strip().startswith(("-", "#")):
            continue
        if not match[2]:
            section = match[1] + "."
            continue
        key = f"{section if indented else ''}{match[1]}={match[2]}"
        found.append(f"  {key:<28} {match[3] or ''}".rstrip())
    return found
