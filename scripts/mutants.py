"""Whether the tests tell a wrong program from a right one: 72 slips of a line, one after the other.

Each is made in a copy of the tree in a temporary folder, where the tests that name its module must
then fail; the killing tests must pass on the tree as it is. Exit code 1 if a mutant lives. Two more
change nothing that is used: no test can tell, and they do not count.

    scripts/mutants.py [--only WORD] [--jobs N]
"""

# ruff: noqa: E501  a mutant is a row
from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SLOWEST = 900  # seconds for the tests of one mutant; one that never ends is as good as dead
LEFT_BEHIND = (".git", ".venv", "runs", "__pycache__", ".*_cache", "*.egg-info")


class Mutant(NamedTuple):
    """One slip: in `file` the `old` text, which is there once, becomes `new`."""

    name: str
    file: str
    old: str
    new: str
    tests: str  # the files in tests/ that name the module, without test_ and .py


# fmt: off
MUTANTS = [Mutant(*row) for row in (
    ("tensor gamma: terminated dropped", "rl/returns.py", "gamma * ~terminated, next_value", "gamma, next_value", "rl_returns"),
    ("options: gamma for gamma^d", "finetune/options.py", "self._gamma ** batch.next_feat[:, 0]", "self._gamma ** (0 * batch.next_feat[:, 0] + 1)", "finetune_strategies"),
    ("heir: fresh target critics", "finetune/base.py", 'k.partition(".")[0] in fresh', 'k.partition(".")[0] in (*fresh, "target")', "finetune_strategies"),
    ("sac: target entropy +A/2", "rl/sac.py", "else -width / 2", "else width / 2", "rl_sac"),
    ("sac: target entropy 1.6 log A", "rl/sac.py", "0.6 * math.log(width)", "1.6 * math.log(width)", "rl_sac"),
    ("recognised: tested on what was fitted", "pretrain/evaluate.py", "described[:, 1 - fold :: 2]", "described[:, fold::2]", "evaluate"),
    ("stats: runs drawn jointly over tasks", "logbook/stats.py", "size=(reps, runs, tasks)", "size=(reps, runs, 1)", "stats"),
    ("rnd: no clip to +-5", "skills/rnd.py", ".clamp(-5, 5)", "", "skills"),
    ("metra: constraint on the mean over D", "skills/metra.py", "length = stride.square().sum(-1)", "length = stride.square().mean(-1)", "skills"),
    ("ppo: entropy sign", "rl/ppo.py", "policy_loss - self.entropy * entropy", "policy_loss + self.entropy * entropy", "rl_ppo"),
    ("ppo: no minimum", "rl/ppo.py", "torch.minimum(ratio * advantage, clipped * advantage)", "(clipped * advantage)", "rl_ppo"),
    ("ppo: lambda ignored", "rl/ppo.py", "            self.gamma,\n            self.lam,\n        )", "            self.gamma,\n            1.0,\n        )", "rl_ppo"),
    ("rl2: entropy sign", "meta/rl2.py", "policy_loss - entropy_coef * entropy", "policy_loss + entropy_coef * entropy", "meta_rl2"),
    ("rl2: lambda ignored", "meta/rl2.py", "now, after, self.gamma, self.lam\n", "now, after, self.gamma, 1.0\n", "meta_rl2"),
    ("rl2: no annealing", "meta/rl2.py", "a + done_share * (b - a)", "a + 0 * done_share * (b - a)", "meta_rl2"),
    ("proposals: random is the trained skill", "meta/proposals.py", "fresh = _untrained(node, run.skill, run.spec, seed, states)", "fresh = run.skill", "meta_stage"),
    ("proposals: near-duplicates kept", "meta/proposals.py", "dropped.append(k)", "kept.append(k)", "tasks_proposed"),
    ("proposals: untrained without statistics", "meta/proposals.py", "    fresh.observe(states.map(lambda x: x[None]))\n", "", "tasks_proposed"),
    ("promp: no KL", "meta/promp.py", "losses.append(near)", "pass", "meta_maml"),
    ("promp: one epoch", "meta/promp.py", "range(self.settings.epochs)", "range(1)", "meta_maml"),
    ("promp: no clip", "meta/promp.py", "self._clipped(e) for e in evidence", "self._loss(e) for e in evidence", "meta_maml"),
    ("sac: entropy sign in the target", "rl/sac.py", "weight[:, :num] * (low - alpha", "weight[:, :num] * (low + alpha", "rl_sac"),
    ("sac: entropy sign in the actor", "rl/sac.py", ".view_as(weight) - alpha * log_prob", ".view_as(weight) + alpha * log_prob", "rl_sac"),
    ("sac: entropy sign in the pull", "rl/sac.py", "weight * (alpha / num))", "weight * (-alpha / num))", "rl_sac"),
    ("sac: max for min in the target", "rl/sac.py", "torch.minimum(*future_q)", "torch.maximum(*future_q)", "rl_sac"),
    ("sac: max for min in the actor", "rl/sac.py", "torch.minimum(one, two)", "torch.maximum(one, two)", "rl_sac"),
    ("sac: the temperature falls where it should rise", "rl/sac.py", "torch.sub(entropy, self.target_entropy, out", "torch.sub(self.target_entropy, entropy, out", "rl_sac"),
    ("sac: targets move away", "rl/sac.py", "self.target.theta.lerp_(self.critic.theta, self.tau)", "self.target.theta.lerp_(self.critic.theta, 1 - self.tau)", "rl_sac"),
    ("sac: noise not resumed", "rl/sac.py", '        self.replay.load_state_dict(state["replay"])\n        self._noise.set_state(state["noise"].cpu())\n', '        self.replay.load_state_dict(state["replay"])\n', "rl_sac"),
    ("replay: generator not resumed", "rl/replay.py", '        self._generator.set_state(state["generator"].cpu())\n', "", "rl_replay rl_sac"),
    ("replay: rows that are not valid kept", "rl/replay.py", 'if "valid" in rollout.extras:', 'if "vali" in rollout.extras:', "rl_replay"),
    ("target: terminated dropped", "rl/returns.py", "torch.addcmul(rew, ~terminated, next_value, value=gamma)", "rew + gamma * next_value", "rl_returns"),
    ("gae: crosses a truncation", "rl/returns.py", "(~(terminated | truncated))", "(~terminated)", "rl_returns"),
    ("gae: lambda without gamma", "rl/returns.py", "keep = gamma * lam *", "keep = lam *", "rl_returns"),
    ("collect: a switch of skill not marked", "rl/collect.py", "(truncated | switch) & ~terminated", "truncated & ~terminated", "rl_collect"),
    ("ppo: rows that are not valid count", "rl/ppo.py", 'extras["valid"].float()', 'torch.ones_like(value)', "rl_ppo"),
    ("policies: squash not accounted for", "rl/policies.py", "(-0.5 * noise.square() - self.log_std - _squash(u) - _LOG", "(-0.5 * noise.square() - self.log_std + _squash(u) - _LOG", "rl_policies"),
    ("policies: divergence the other way round", "rl/policies.py", "(self.log_p.exp() * (self.log_p - other.log_p))", "(other.log_p.exp() * (other.log_p - self.log_p))", "rl_trpo"),
    ("trpo: a step twice as far", "rl/trpo.py", "way * (2 * max_kl / curvature", "way * (8 * max_kl / curvature", "rl_trpo"),
    ("gru: reset gate", "rl/recurrent.py", "torch.mm(row[:, self.n_in :], u))", "0.5 * torch.mm(row[:, self.n_in :], u))", "rl_recurrent"),
    ("gru: reset gate's gradient", "rl/recurrent.py", "torch.mul(n_, r_, out=m_)", "m_.copy_(n_)", "rl_recurrent"),
    ("diayn: obs for next_obs", "skills/diayn.py", "x = self._view(batch.next_obs, batch.next_feat)", "x = self._view(batch.obs, batch.next_feat)", "skills"),
    ("diayn: feat for next_feat", "skills/diayn.py", "x = self._view(batch.next_obs, batch.next_feat)", "x = self._view(batch.next_obs, batch.feat)", "skills"),
    ("diayn: log(K-1)", "skills/diayn.py", "math.log(num_skills)", "math.log(num_skills - 1)", "skills"),
    ("diayn: ramp not saved", "skills/diayn.py", '{"steps": self._steps}', '{"steps": 0}', "skills resume"),
    ("metra: sign of lambda", "skills/metra.py", "progress + lam * margin", "progress - lam * margin", "skills"),
    ("metra: sign of lambda's own step", "skills/metra.py", "self.log_lam * margin", "-self.log_lam * margin", "skills"),
    ("metra: corners not recentred", "skills/metra.py", "(z - 1 / self.z_dim)", "z", "skills"),
    ("metra: no K/(K-1)", "skills/metra.py", "* (self.z_dim / (self.z_dim - 1))", "", "skills"),
    ("metra: no slack", "skills/metra.py", ".clamp(max=self._slack)", "", "skills"),
    ("loop: reward not relabelled", "pretrain/loop.py", "self.agent.update(batch.with_rew(rew))", "self.agent.update(batch)", "learning"),
    ("maml: no second-order term", "meta/inner.py", "return v if slope is None else v - self._rates[k] * slope.product(v)", "return v", "meta_maml"),
    ("maml: outer rounds miscounted", "meta/gradient.py", "return k >= self.burn_in", "return k > self.burn_in", "meta_maml meta_gradient"),
    ("evidence: centring", "meta/evidence.py", "advantage - (advantage * weight).sum(1, keepdim=True)", "advantage - advantage.mean(1, keepdim=True)", "meta_gradient"),
    ("evidence: spread", "meta/evidence.py", "spread = (advantage.square() * weight).sum(1, keepdim=True).sqrt()", "spread = advantage.square().mean(1, keepdim=True).sqrt()", "meta_gradient"),
    ("evidence: baseline without gamma", "meta/evidence.py", "zero, zero, gamma, 1.0)", "zero, zero, 1.0, 1.0)", "meta_gradient"),
    ("evidence: baseline without a clock", "meta/evidence.py", "torch.cat([time, time**2, time**3, torch.ones_like(time)], -1)", "torch.ones_like(time)", "meta_gradient"),
    ("emaml: sign", "meta/emaml.py", "later + (e.rew - e.rew.mean())", "later - (e.rew - e.rew.mean())", "meta_maml"),
    ("emaml: scale", "meta/emaml.py", "/ (spread + 1e-8)", "", "meta_maml"),
    ("rl2: returns stop at episodes", "meta/rl2.py", '"end": ~_ahead(after),', '"end": ~_ahead(after) | (done > 0),', "meta_rl2"),
    ("rl2: done hidden", "meta/rl2.py", "done[..., None].to(to)]", "0 * done[..., None].to(to)]", "meta_rl2"),
    ("proposals: floor up", "meta/proposals.py", "rew.clamp(min=-self.floor)", "rew.clamp(min=self.floor)", "meta_stage"),
    ("proposals: no floor", "meta/proposals.py", "return rew.clamp(min=-self.floor)", "return rew", "meta_stage"),
    ("proposals: centre", "meta/proposals.py", "(rew - self.centre[which])", "rew", "meta_stage"),
    ("proposals: scale", "meta/proposals.py", " / self.scale[which]", "", "meta_stage"),
    ("proposals: swapped next_obs", "meta/proposals.py", "_transitions(self.spec, obs, feat, next_obs, next_feat, act, self.z[which])", "_transitions(self.spec, next_obs, feat, obs, next_feat, act, self.z[which])", "inspect_tasks meta_stage"),
    ("carml: lambda", "envs/tasks/carml.py", "(self.balance - 1.0) * under", "self.balance * under", "tasks_carml"),
    ("options: returns without gamma", "finetune/options.py", "self._gamma**self._lasted * rew", "rew", "finetune_strategies"),
    ("choice: the worst skill", "finetune/policy.py", "np.nanargmax(scores)", "np.nanargmin(scores)", "finetune_strategies"),
    ("heir: normaliser not inherited", "finetune/base.py", 'k.partition(".")[0] in fresh', 'k.partition(".")[0] in (*fresh, "normalizer")', "finetune_strategies"),
    ("stats: IQM rounds up", "logbook/stats.py", "cut = flat.shape[-1] // 4", "cut = -(-flat.shape[-1] // 4)", "stats"),
    ("stats: an interval of 90 %", "logbook/stats.py", "    *,\n    confidence: float = 0.95,", "    *,\n    confidence: float = 0.90,", "stats"),
)]

EQUIVALENT = [Mutant(*row) for row in (
    # the memory after the last round of a trial is thrown away
    ("trial: adapt after the last round", "meta/trial.py", "if first < horizon:", "if first <= horizon:", "meta_stage"),
    # pretraining has a horizon of one round, so there is no other to leave out
    ("pretrained: all rounds used", "meta/pretrained.py", "return evidence[:1]", "return evidence", "meta_maml"),
)]
# fmt: on


@dataclass(frozen=True)
class Outcome:
    """What the tests said: the one that failed, or why none did."""

    mutant: Mutant
    killer: str | None
    why: str = ""


def mutated(text: str, mutant: Mutant) -> str:
    """The wrong text. Raises ValueError where the old one isn't there exactly once."""
    found = text.count(mutant.old)
    if found != 1 or mutant.old == mutant.new:
        raise ValueError(
            f"{mutant.name}: in {mutant.file} the old text is there {found} times, want once; "
            "the code has moved on: write the mutant anew"
        )
    return text.replace(mutant.old, mutant.new)


def tests_of(mutant: Mutant) -> list[str]:
    return [f"tests/test_{name}.py" for name in mutant.tests.split()]


def pytest(tree: Path, words: Sequence[str]) -> tuple[int, str]:
    """pytest's exit code and what it printed."""
    env = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-rfE", "-p", "no:cacheprovider"]
    try:
        done = subprocess.run(
            [*command, *words], cwd=tree, env=env, capture_output=True, text=True, timeout=SLOWEST
        )
    except subprocess.TimeoutExpired:
        return 1, f"FAILED no end within {SLOWEST} s - "
    return done.returncode, done.stdout + done.stderr


def tried(tree: Path, mutant: Mutant) -> Outcome:
    """A mutant in a copy of the tree, which is right again afterwards."""
    path = tree / mutant.file
    right = path.read_text("utf-8")
    path.write_text(mutated(right, mutant), "utf-8")
    try:
        code, said = pytest(tree, ["-x", *tests_of(mutant)])
    finally:
        path.write_text(right, "utf-8")
    failed = re.search(r"^(?:FAILED|ERROR) (\S+::.+?|no end .+?)(?: - |$)", said, re.M)
    if code == 1 and failed:
        return Outcome(mutant, failed[1])
    return Outcome(mutant, None, "" if code == 0 else f"pytest ended with {code}:\n{said[-800:]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="WORD", default="", help="those whose name has this word")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time")
    asked = parser.parse_args()
    chosen = [m for m in MUTANTS if asked.only in m.name]
    for mutant in (*MUTANTS, *EQUIVALENT):
        mutated((ROOT / mutant.file).read_text("utf-8"), mutant)
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        trees: SimpleQueue[Path] = SimpleQueue()
        for i in range(max(1, asked.jobs)):
            trees.put(Path(folder, str(i)))
            shutil.copytree(ROOT, Path(folder, str(i)), ignore=shutil.ignore_patterns(*LEFT_BEHIND))

        def work(mutant: Mutant) -> Outcome:
            tree = trees.get()
            try:
                return tried(tree, mutant)
            finally:
                trees.put(tree)

        with ThreadPoolExecutor(max(1, asked.jobs)) as pool:
            for outcome in pool.map(work, chosen):
                outcomes.append(outcome)
                verdict = "killed  " if outcome.killer else "SURVIVED"
                by = outcome.killer or outcome.why
                print(f"{verdict}  {outcome.mutant.name:44}  {by}", flush=True)
        killers = sorted({o.killer for o in outcomes if o.killer and "::" in o.killer})
        sound, said = pytest(trees.get(), killers) if killers else (0, "")
    alive = sum(o.killer is None for o in outcomes)
    print(f"{len(outcomes) - alive} of {len(outcomes)} mutants killed")
    print("equivalent, not counted:", "; ".join(m.name for m in EQUIVALENT))
    if sound != 0:
        print(f"but these tests do not pass on the tree as it is, either:\n{said[-2000:]}")
    return int(alive > 0 or sound != 0)


if __name__ == "__main__":
    sys.exit(main())
