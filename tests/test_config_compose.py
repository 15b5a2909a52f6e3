"""The command line: what wins over what, and every mistake in one line with the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from logbook.compose import compose, sweep
from logbook.config import CONFIGS
from logbook.errors import Exit, UserError
from logbook.why import why

MISTAKES = [
    ("skil=diayn", "skil: no such key; did you mean skill?"),
    ("skill=dyan", "skill=dyan: no such skill; did you mean skill=diayn?"),
    ("skill.num_skills=abc", "skill.num_skills=abc: want a whole number"),
    ("skill.num_skills=2.5", "skill.num_skills=2.5: want a whole number"),
    ("skill.num_skill=5", "did you mean skill.num_skills?"),
    ("skill.num_skills=-3", "skill.num_skills=-3: want 2 or more"),
    ("num_skills=5", "did you mean skill.num_skills?"),
    ("agent.num_skills=5", "did you mean skill.num_skills?"),
    ("env=cheeta", "did you mean env=cheetah?"),
    ("agent=diayn", "agent=diayn: no such agent (choices: "),
    ("preset=nope", "preset=nope: no such preset"),
    ("skill=", "'skill=' lacks a value (choices: "),
    ("seed=", "'seed=' lacks a value"),
    ("=3", "'=3' lacks a key"),
    ("skill", "'skill' lacks a value"),
    ("seed", "'seed' lacks a key and a value"),
    ("agent.lr=[", "cannot be read"),
    ("agent.lr='a", "cannot be read"),
    ("~skill", "a run needs one"),
    ("~seed", "~seed: no key can be left out"),
    ("skill=[diayn]", "no such skill"),
    ("seed=1,2", "add -m"),
    ("steps=0", "steps=0: want at least 1"),
    ("steps=many", "steps=many: want a whole number, for example steps="),
    ("num_envs=0", "num_envs=0: want at least 1"),
    ("num_envs=1e12", "want at most"),
    ("seed=-1", "seed=-1: want at least 0"),
    ("skill_steps=0", "want at least 1, for example skill_steps=1"),
    ("checkpoint_every=0", "want at least 1"),
    ("evaluate.reps=few", "evaluate.reps=few: want a whole number or null"),
    ("evaluate.rep=3", "did you mean evaluate.reps?"),
    ("atlas.videos=3", "atlas.videos=3: want true or false, for example atlas.videos=true"),
    ("device=gpu", "device=gpu: want auto, cpu, cuda or cuda:N"),
    ("name=../x", "name=../x: it names a folder"),
    ("agent.lr=nan", "agent.lr=nan: want a number"),
    ("agent.hidden=64", "want a list of whole numbers"),
    ("agent.hidden=[64,-1]", "want 1 or more"),
    ("+foo=3", "foo: no such key"),
    ("+skill.foo=3", "skill.foo: diayn has no such key"),
    ("skill=3", "skill=3: no such skill"),
    ("skill.name=os", "skill.name=os: no such skill"),
    ("env.name=point", "choose env=point"),
    ("hydra.foo=1", "Key 'foo' not in 'HydraConf'"),
    ("agent.tau=${nope}", "agent.tau: Interpolation key 'nope' not found"),
]


@pytest.mark.parametrize(("typed", "words"), MISTAKES)
def test_mistake(typed, words):
    with pytest.raises(UserError) as e:
        compose("pretrain", [typed])
    assert words in str(e.value)
    assert "\n" not in str(e.value) and e.value.code == Exit.CONFIG


def test_a_mistake_is_found_among_good_words():
    with pytest.raises(UserError, match="skil: no such key"):
        compose("pretrain", ["env=point", "skil=diayn", "seed=3", "skill.num_skills=4"])


def test_defaults_are_whole_and_typed():
    job = compose("pretrain", [])
    assert job.config["skill"]["name"] == "diayn" and job.config["env"]["name"] == "cheetah"
    assert job.run_dir == Path("runs/diayn-cheetah/base/0")
    assert type(job.config["agent"]["lr"]) is float and "hydra" not in job.config
    assert compose("pretrain", ["steps=2e6"]).config["steps"] == 2_000_000


@pytest.mark.parametrize("command", ["pretrain", "metatrain", "finetune"])
def test_groups_of_other_commands_are_refused(command: str) -> None:
    own = {
        "pretrain": ["env", "agent", "skill", "preset"],
        "metatrain": ["tasks", "learner"],
        "finetune": ["task", "strategy"],
    }
    inherited = ["env", "agent", "skill"] if command == "finetune" else []
    for group in sorted(p.name for p in CONFIGS.iterdir() if p.is_dir() and p.name[0] != "_"):
        if group in [*own[command], *inherited]:
            continue
        choice = sorted((CONFIGS / group).glob("*.yaml"))[0].stem
        with pytest.raises(UserError) as caught:
            compose(command, [f"{group}={choice}"])
        told = f"{group}={choice}: {command} has no {group} to choose; it has "
        assert str(caught.value) == told + ", ".join(own[command])


def test_the_command_line_wins_over_the_preset_and_that_over_the_choices():
    paper = compose("pretrain", ["preset=diayn_paper"]).config
    assert paper["skill"]["num_skills"] == 50 and paper["agent"]["hidden"] == [300, 300]
    assert paper["agent"]["updates"] == 1 and paper["num_envs"] == 1
    mine = compose("pretrain", ["skill.num_skills=7", "preset=diayn_paper", "num_envs=3"]).config
    assert mine["skill"]["num_skills"] == 7 and mine["num_envs"] == 3
    with pytest.raises(UserError, match="metra has no such key.*preset=diayn_paper sets it"):
        compose("pretrain", ["preset=diayn_paper", "skill=metra"])


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_what_a_skill_likes_of_an_agent(tmp_path):
    """A skill's own `when`: for that agent only; preset and command line win over it."""
    rnd = (CONFIGS / "skill" / "rnd.yaml").read_text()
    write(tmp_path, "skill/mine.yaml", rnd + "when: {agent=sac: {agent: {tau: 0.5}, seed: 9}}\n")
    write(tmp_path, "preset/p.yaml", "# @package _global_\nagent: {tau: 0.7}\n")
    dirs = [str(tmp_path)]
    usual = compose("pretrain", []).config["agent"]["tau"]
    assert usual != 0.5
    mine = compose("pretrain", ["skill=mine"], dirs)
    assert mine.config["agent"]["tau"] == 0.5 and mine.config["seed"] == 9
    assert "when" not in mine.config["skill"]
    assert mine.run_dir == Path("runs/mine-cheetah/base/9")
    assert compose("pretrain", ["skill=mine", "preset=p"], dirs).config["agent"]["tau"] == 0.7
    assert compose("pretrain", ["skill=mine", "agent.tau=0.3"], dirs).config["agent"]["tau"] == 0.3
    assert compose("pretrain", ["skill=mine", "agent=ppo"], dirs).config["seed"] == 0
    assert compose("pretrain", [], dirs).config["agent"]["tau"] == usual
    (tmp_path / "tuned").mkdir()
    with pytest.raises(UserError, match="tuned is not read any more.*skill/SKILL.yaml, as when"):
        compose("pretrain", [], dirs)


def test_a_skill_names_the_agent_that_it_needs(tmp_path):
    rnd = (CONFIGS / "skill" / "rnd.yaml").read_text()
    write(tmp_path, "skill/mine.yaml", rnd + "needs: {agent: ppo}\nwhen: {agent=ppo: {lr: 0.5}}\n")
    write(tmp_path, "agent/own.yaml", (CONFIGS / "agent" / "ppo.yaml").read_text())
    write(tmp_path, "preset/p.yaml", "# @package _global_\ndefaults: [override /agent: own]\n")
    write(tmp_path, "preset/q.yaml", "# @package _global_\nagent: {lr: 0.25}\n")
    dirs = [str(tmp_path)]
    found = compose("pretrain", ["skill=mine"], dirs).config
    assert found["agent"] == compose("pretrain", ["agent=ppo"]).config["agent"]
    assert found["skill"]["lr"] == 0.5 and "needs" not in found["skill"]
    sources = [line.split() for line in why("pretrain", ["skill=mine"], dirs, False)]
    assert ["agent.lam=0.95", "configs/agent/ppo.yaml"] in sources
    assert compose("pretrain", ["skill=mine", "agent=own"], dirs).config["agent"]["name"] == "ppo"
    assert compose("pretrain", ["skill=mine", "preset=q"], dirs).config["agent"]["lr"] == 0.25
    told = "agent=sac: skill=rnd needs agent=ppo; leave agent out, or choose another skill"
    for words in (["agent=sac"], ["agent=sac", "agent.lr=0.1"]):
        with pytest.raises(UserError, match=f"^{told}$"):
            compose("pretrain", ["skill=mine", *words], dirs)
    with pytest.raises(UserError, match=told):
        sweep("pretrain", ["skill=mine", "agent=ppo,sac"], dirs)
    write(tmp_path, "skill/mine.yaml", rnd + "needs: {agent: sax}\n")
    with pytest.raises(UserError, match="sax"):
        compose("pretrain", ["skill=mine"], dirs)


WHENS = {
    "body: {lr: 1.0}\n  env=cheetah: {lr: 2.0}\n  body or env=ant: {lr: 3.0}": 3.0,
    "env=cheetah: {lr: 2.0}\n  body: {lr: 1.0}": 1.0,
    "body and falls: {lr: 1.0}": None,
    "env=ant|cheetah and agent=sac: {lr: 1.0}": 1.0,
    "falls and env=ant or env=cheetah: {lr: 1.0}": 1.0,
    "agent.batch_size>=256: {lr: 1.0}": 1.0,
    "agent.batch_size>=257: {lr: 1.0}": None,
    "agent.nothing>=1 or agent.alpha>=1: {lr: 1.0}": None,
    "command=pretrain: {lr: 1.0}": 1.0,
    "learner=maml or command=metatrain: {lr: 1.0}": None,
}


@pytest.mark.parametrize(("text", "lr"), WHENS.items())
def test_conditions(tmp_path, text, lr):
    rnd = (CONFIGS / "skill" / "rnd.yaml").read_text()
    write(tmp_path, "skill/mine.yaml", f"{rnd}when:\n  {text}\n")
    found = compose("pretrain", ["skill=mine"], [str(tmp_path)]).config["skill"]["lr"]
    assert found == (lr or 1e-3)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("3", r"mine\.yaml: line 8: when: want \{CONDITION"),
        ("{body: 3}", "when: body: want"),
        ("{bodi: {lr: 1.0}}", "'bodi' is no condition; did you mean body"),
        ("{env=: {lr: 1.0}}", "'env=' is no condition"),
        ("{enf=ant: {lr: 1.0}}", "did you mean env"),
        (
            "{body: {hiden: [8]}}",
            "skill, when body: hiden: no such key.*did you mean hidden",
        ),
        ("{body: {name: x}}", "no such key to set"),
        ("{body: {hydra: {run: {dir: x}}}}", "no such key to set"),
        ("{body: {agent: ppo}}", "agent: want keys below it"),
        ("{body: {agent: {name: ppo}}}", "agent.name: a choice is no setting"),
        ("{body: {agent: {tu: 1.0}}}", r"sac has no such key.*\(skill, when body sets it\)"),
        ("{body: {lr: -1.0}}", r"skill.lr=-1: want above 0.*\(skill, when body sets it\)"),
        ("{body: {name_: '${oc.env:HOME}'}}", "interpolation"),
        ("{body: {agent: {_target_: x}}}", "is no name of a key"),
    ],
)
def test_what_no_condition_may_set(tmp_path, text, told):
    rnd = (CONFIGS / "skill" / "rnd.yaml").read_text()
    write(tmp_path, "skill/mine.yaml", f"{rnd}when: {text}\n")
    with pytest.raises(UserError, match=told):
        compose("pretrain", ["skill=mine"], [str(tmp_path)])


def test_a_yaml_may_set_keys_beside_its_own(tmp_path):
    diayn = (CONFIGS / "skill" / "diayn.yaml").read_text()
    body = "".join(f"  {line}\n" for line in diayn.splitlines() if not line.startswith("#"))
    text = f"# @package _global_\n# Mine.\nskill:\n{body}agent:\n  tau: 0.25\n"
    write(tmp_path, "skill/wide.yaml", text)
    config = compose("pretrain", ["skill=wide"], [str(tmp_path)]).config
    assert config["agent"]["tau"] == 0.25 and config["skill"]["name"] == "diayn"


def test_folders_with_odd_names(tmp_path):
    odd = tmp_path / "it's, [a] folder"
    write(odd, "skill/mine.yaml", (CONFIGS / "skill" / "none.yaml").read_text())
    assert compose("pretrain", ["skill=mine"], [str(odd)]).config["skill"]["name"] == "none"
    with pytest.raises(UserError, match="no such folder"):
        compose("pretrain", [], [str(tmp_path / "nowhere")])
    with pytest.raises(UserError, match="did you mean skill=mine"):
        compose("pretrain", ["skill=mines"], [str(odd)])


def test_sweep_is_every_combination():
    jobs = sweep("pretrain", ["skill=diayn,rnd", "seed=range(3)", "name=n", "steps=5"])
    found = [(j.config["skill"]["name"], j.config["seed"]) for j in jobs]
    assert found == [(s, i) for s in ("diayn", "rnd") for i in range(3)]
    with pytest.raises(UserError, match="skill=dyan: no such skill"):
        sweep("pretrain", ["skill=diayn,dyan"])
    with pytest.raises(UserError, match="agent.lr=x"):
        sweep("pretrain", ["agent.lr=1e-3,x", "seed=0,1"])


def test_bodies_that_fall_take_smaller_steps_unless_told_otherwise():
    words = ("cheetah_direction", "ant_direction", "hopper_dynamics", "walker_dynamics")
    rates = [
        compose("metatrain", ["learner=maml", f"tasks={w}"]).config["learner"]["inner_lr"]
        for w in words
    ]
    assert rates == [1.0, 0.3, 0.3, 0.3]
    told = compose("metatrain", ["learner=emaml", "tasks=ant_goal", "learner.inner_lr=0.7"]).config
    assert told["learner"]["inner_lr"] == 0.7 and told["learner"]["gain"] == 0.1
    compose("metatrain", ["learner=rl2", "tasks=ant_goal"])  # it has no rate


def test_proposals_in_the_world_of_a_body_ask_for_what_serves_bodies(tmp_path):
    for env in ("cheetah", "point", "ant"):
        (tmp_path / env).mkdir()
        (tmp_path / env / "config.yaml").write_text(f"env: {{name: {env}}}\n")
    words = ["learner=maml", "tasks=skills"]
    body = compose("metatrain", [*words, f"from={tmp_path}/cheetah"]).config
    plane = compose("metatrain", [*words, f"from={tmp_path}/point"]).config
    by_hand = compose("metatrain", ["learner=maml", "tasks=cheetah_direction"]).config
    assert body["learner"] == by_hand["learner"] != plane["learner"]
    assert body["learner"]["normalize_steps"] > 0 == plane["learner"]["normalize_steps"]
    falls = compose("metatrain", [*words, f"from={tmp_path}/ant"]).config
    assert falls["learner"] == body["learner"] | {"inner_lr": 0.3}
    compose("metatrain", ["learner=rl2", "tasks=skills", f"from={tmp_path}/ant"])  # has no rate
    words_of_plane = ["learner=maml", "tasks=point_goal"]
    aside = compose("metatrain", [*words_of_plane, f"from={tmp_path}/cheetah"]).config
    assert aside["learner"] == compose("metatrain", words_of_plane).config["learner"]
    mine = compose("metatrain", [*words, f"from={tmp_path}/cheetah", "learner.gain=0.7"]).config
    assert mine["learner"] == body["learner"] | {"gain": 0.7}
    assert (
        compose("metatrain", [*words, f"from={tmp_path}/none"]).config["learner"]
        == plane["learner"]
    )


@pytest.mark.parametrize("text", ["", "[1, 2]", "env: cheetah", "env: {size: 1}", "{"])
def test_a_source_that_says_no_world_asks_for_nothing(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    words = ["learner=maml", "tasks=skills"]
    odd = compose("metatrain", [*words, f"from={tmp_path}"]).config
    assert odd["learner"] == compose("metatrain", words).config["learner"]
