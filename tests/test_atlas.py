"""Videos that decode to what was put in, and an atlas whose page needs nothing but its folder."""

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import envs
from logbook import charts, markup
from logbook.errors import Exit, UserError
from logbook.video import Video, tile
from pretrain import inspect_skills, page, report
from pretrain.atlas import PICTURE, make_atlas
from pretrain.evaluate import evaluate
from pretrain.pictures import CAPTION, _apart, colour, label, signed, trajectory_map
from skills.base import Skill

ROOT = Path(__file__).resolve().parent.parent


def decoded(path):
    """The frames of a video, [n, h, w, 3]."""
    reader = imageio_ffmpeg.read_frames(str(path))
    width, height = next(reader)["size"]
    return np.stack([np.frombuffer(f, np.uint8).reshape(height, width, 3) for f in reader])


def plain(shade, height=48, width=64):
    return np.full((height, width, 3), shade, np.uint8)


def test_a_video_decodes_to_its_frames(tmp_path):
    with Video(tmp_path / "v.mp4", 10) as video:
        for shade in (20, 120, 220, 220, 40):
            video.add(plain(shade))
    frames = decoded(tmp_path / "v.mp4")
    assert frames.shape == (5, 48, 64, 3)
    np.testing.assert_allclose(frames.mean((1, 2, 3)), [20, 120, 220, 220, 40], atol=4)
    assert [p.name for p in tmp_path.iterdir()] == ["v.mp4"]


def test_a_video_is_whole_or_not_there(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"the one before")
    with pytest.raises(KeyError), Video(tmp_path / "v.mp4", 10) as video:
        video.add(plain(0))
        raise KeyError
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"the one before"]
    with pytest.raises(OSError, match="could not be written"):
        with Video(tmp_path / "no such folder" / "v.mp4", 10) as video:
            for _ in range(100):
                video.add(plain(0))


def test_frames_that_do_not_fit_are_refused(tmp_path):
    with Video(tmp_path / "v.mp4", 10) as video:
        with pytest.raises(ValueError, match="even"):
            video.add(plain(0, height=47))
        video.add(plain(0))
        with pytest.raises(ValueError, match="want uint8"):
            video.add(plain(0, width=80))


def test_tiles_lie_row_by_row(tmp_path):
    paths = []
    for shade in (30, 90, 160):
        paths.append(tmp_path / f"{shade}.mp4")
        with Video(paths[-1], 10) as video:
            for _ in range(4):
                video.add(plain(shade))
    tile(paths, tmp_path / "all.mp4", 2, (32, 24))
    frames = decoded(tmp_path / "all.mp4")
    assert frames.shape == (4, 48, 64, 3)
    middle = frames[2][12::24, 16::32].mean(-1)
    np.testing.assert_allclose(middle, [[30, 90], [160, 255]], atol=5)
    tile(paths[:1], tmp_path / "one.mp4", 1, (32, 24))
    assert decoded(tmp_path / "one.mp4").shape == (4, 24, 32, 3)


class Compass:
    """Skill k walks in the k-th of K directions."""

    def __init__(self, num):
        angle = 2 * np.pi * torch.arange(num) / num
        self.way = torch.stack([angle.cos(), angle.sin()], 1)

    def act(self, obs, z, explore):
        return z @ self.way, {}


class Directions(Skill):
    """K one-hot skills, known by the nearest of K directions; the last two are mixed up."""

    def __init__(self, num):
        super().__init__(0)
        self.z_dim, self.way = num, Compass(num).way

    def sample_z(self, n):
        return F.one_hot(torch.randint(self.z_dim, (n,), generator=self.generator), self.z_dim)

    def all_z(self):
        return torch.eye(self.z_dim)

    def log_q(self, batch):
        score = 20 * F.normalize(batch.next_feat[..., :2], dim=-1) @ self.way.T
        score[..., -1] = score[..., -2] = score[..., -2:].amax(-1)
        return F.log_softmax(score, -1)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    factory = partial(envs.make_default, "point", max_episode_steps=30)
    agent, skill = Compass(5), Directions(5)
    numbers, taken = evaluate(factory, agent, skill, 3)
    about = {"title": "toy <b>on</b> point", "next": "finetune from=a&b", "seed": 3}
    outcome = make_atlas(
        folder, factory, agent, skill, taken, numbers, seed=3, about=about, frames=200
    )
    return folder, numbers, taken, outcome


def test_the_atlas_has_a_video_of_every_skill_and_one_of_all(atlas):
    folder, _, taken, outcome = atlas
    assert outcome == {"videos": "videos/skills.mp4"}
    width, height = PICTURE[0], PICTURE[1] + CAPTION
    for k in range(5):
        frames = decoded(folder / f"videos/skill_{k:02d}.mp4")
        assert frames.shape == (31, height, width, 3)  # the start and 30 steps
        assert Image.open(folder / f"videos/skill_{k:02d}.jpg").size == (width, height)
        assert np.abs(frames[0].astype(int) - frames[-1]).max() > 100  # something moved
    assert decoded(folder / "videos/skills.mp4").shape == (31, 2 * height, 3 * width, 3)
    names = {p.name for p in (folder / "videos").iterdir()}
    assert names >= {"map.png", "contact.png"} and not any(n.startswith(".") for n in names)


def test_the_video_shows_the_first_repetition(atlas):
    folder, _, taken, _ = atlas
    frame = decoded(folder / "videos/skill_01.mp4")[-1][: PICTURE[1]].astype(int)
    red = (frame[..., 0] > 150) & (frame[..., 1] < 120)
    row, column = np.argwhere(red).mean(0)
    scale = 0.94 * PICTURE[1] / 2 / 10  # pixels a metre, see envs/point.py
    x, y = taken.feat[1, 0, -1, :2]
    assert column - PICTURE[0] / 2 == pytest.approx(scale * x, abs=1.5)
    assert PICTURE[1] / 2 - row == pytest.approx(scale * y, abs=1.5)


def test_the_page_is_complete_and_works_offline(atlas):
    folder, numbers, taken, _ = atlas
    text = (folder / "index.html").read_text()
    links = set(re.findall(r'(?:src|href|poster)="([^"]*)"', text))
    later = {"report.html", "summary.json"}  # written after it
    assert links - later and all((folder / name).exists() for name in links - later)
    assert "http" not in text and "@import" not in text and "url(" not in text
    assert "toy &lt;b&gt;on&lt;/b&gt; point" in text and "finetune from=a&amp;b" in text
    assert f"{numbers['skills']['accuracy']:.0%}" in text
    for mean in taken.returns().mean(1):
        assert f"<td>{mean:,.1f}</td>" in text
    assert "mixed up with 4" in text and "mixed up with 3" in text  # the near-duplicates
    assert text.count("card flag") == 2
    assert 'class="confusion"' in text


def test_the_map_is_drawn_for_every_kind_of_plane(atlas, tmp_path):
    taken = atlas[2]
    over_floor = Image.open(atlas[0] / "videos/map.png")
    shown = {tuple(int(colour(k, 5)[i : i + 2], 16) for i in (1, 3, 5)) for k in range(5)}
    present = {c for _, c in over_floor.convert("RGB").getcolors(1 << 24)}
    assert shown <= present
    from dataclasses import replace

    for i, plane in enumerate([("x", "x_velocity"), (), ("x_velocity", "y_velocity")]):
        other = replace(taken, spec=replace(taken.spec, plane=plane))
        trajectory_map(other, tmp_path / f"{i}.png")
        assert Image.open(tmp_path / f"{i}.png").size[0] > 600


def test_what_ended_is_paled_and_captioned():
    frame = np.zeros((100, 200, 3), np.uint8)
    going = label(frame, "#ff0000", "skill 1", "+1.0 m", "step 3", False)
    over = label(frame, "#ff0000", "skill 1", "+1.0 m", "ended at 3", True)
    assert going.shape == (100 + CAPTION, 200, 3)
    assert going[50, 100].tolist() == [0, 0, 0] and over[50, 100].min() > 100
    assert [255, 0, 0] in going[100:].reshape(-1, 3).tolist()


def test_small_helpers():
    assert signed(-0.04) == "+0.0" and signed(3.25) == "+3.2" and signed(-1) == "-1.0"
    assert len({colour(k, 50) for k in range(50)}) == 50
    placed = _apart(np.array([0.0, 10.0, 0.1, 0.0]), 1.0)
    assert placed[1] == 10.0
    np.testing.assert_allclose(np.diff(np.sort(placed[[0, 2, 3]])), 1.0)
    assert placed[[0, 2, 3]].mean() == pytest.approx(0.1 / 3)  # moved as little as it takes
    assert placed[2] > placed[0]


def test_without_opengl_the_map_and_the_numbers_are_made(tmp_path):
    # A fresh process, since this one may have a working backend loaded.
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import json, envs, torch
from functools import partial
from pathlib import Path
from pretrain.atlas import make_atlas
from pretrain.evaluate import evaluate
from skills.base import Skill

class Stand:
    def act(self, obs, z, explore):
        return torch.zeros(len(obs), 6), {{}}

factory = partial(envs.make_default, "cheetah", max_episode_steps=5)
numbers, taken = evaluate(factory, Stand(), Skill(0), 0)
out = make_atlas(Path({str(tmp_path)!r}), factory, Stand(), Skill(0), taken, numbers,
                 seed=0, about={{"title": "t"}}, frames=100)
print(json.dumps(out))
"""
    env = {"PATH": "/usr/bin:/bin", "MUJOCO_GL": "disable", "HOME": str(tmp_path)}
    env |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '"videos": "off"' in done.stdout and "MUJOCO_GL" in done.stdout
    assert (tmp_path / "videos/map.png").exists()
    assert not list((tmp_path / "videos").glob("*.mp4"))
    text = (tmp_path / "index.html").read_text()
    assert "No videos" in text and "unset it" in text and "<video" not in text


def test_the_report_draws_every_curve(atlas, tmp_path):
    rows = [f'{{"step": {t}, "skill/discriminator_acc": {t / 2000}, "train/q": null}}' for t in
            range(0, 2000)]  # fmt: skip
    rows.append('{"step": 2000, "skill/<x>": 3.0}\n{"step": 2001, "cut sho')
    (tmp_path / "metrics.jsonl").write_text("\n".join(rows))
    summary = atlas[1] | {"videos": "off", "why": "no GL"}
    report.write_report(tmp_path, summary, {"title": "t", "next": "do this"})
    text = (tmp_path / "report.html").read_text()
    assert text.count("<svg") == 2 and "skill/&lt;x&gt;" in text and "train/q" not in text
    points = re.search(r'polyline points="([^"]*)"', text)[1].split()
    assert len(points) == 400
    heights = [float(p.split(",")[1]) for p in points]
    assert heights == sorted(heights, reverse=True)  # the curve rises, and so does the drawing
    assert "do this" in text and "mixed up" in text and "index.html" not in text


def test_a_reports_axes_hold_their_curve_and_end_on_round_numbers():
    assert charts.nice(0.12, 0.93) == (0.0, pytest.approx(0.95))
    assert charts.nice(-3.2, -0.1) == (-3.5, 0.0)
    low, high = charts.nice(5.0, 5.0)
    assert low < 5 < high
    assert charts.short(1234567) == "1.23M" and charts.short(0.5) == "0.5"
    assert [charts.short(x) for x in (999.6, -6250.0, 12345.0)] == ["1,000", "-6,250", "12.3k"]


def test_pages_say_nothing_a_browser_could_run():
    assert "<script" not in markup.document("<script>", markup.escape("<script>")).decode()
    assert markup.alarm_box(["<img>"]).count("<img>") == 0
    assert "No alarms" in markup.alarm_box([])
    assert page._cell(1.0, 4) != page._cell(0.0, 4)


def test_inspect_skills_refuses_what_is_no_run(tmp_path):
    with pytest.raises(UserError, match="is not a run: it has no config.yaml") as error:
        inspect_skills.inspect(tmp_path)
    assert error.value.code == Exit.CONFIG
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    with pytest.raises(UserError, match=f"no checkpoint yet.*resume {tmp_path}") as error:
        inspect_skills.inspect(tmp_path)
    assert error.value.code == Exit.CHECKPOINT
