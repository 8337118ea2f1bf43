"""The command line as users meet it: exit codes, streams, messages."""

from __future__ import annotations

import importlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from scipy import integrate, stats

from fanin.cli import COMMANDS, main
from fanin.recipe import Recipe
from fanin.report import Report

GOLDEN = Path(__file__).parents[1] / "golden"

MODELS = """
import torch
from torch import nn

print("the user's module prints while it is imported")

def healthy():
    return nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))

def deep():
    layers = [layer for _ in range(30) for layer in (nn.Linear(64, 64), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(64, 10))

ready = healthy()

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(50, 16), nn.Linear(16, 50, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("steps", torch.zeros(2))

    def forward(self, tokens):
        return self.head(self.embedding(tokens))

class Keywords(nn.Module):
    def __init__(self):
        super().__init__()
        self.lookup = nn.Embedding(50, 16)

    def forward(self, *, tokens, mask):
        return self.lookup(tokens) * mask[..., None]

def cnn():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 28 * 28, 10))

def recurrent():
    return nn.LSTM(5, 7, batch_first=True)

def helper(x):
    raise RuntimeError("deep inside the user's code")

class Raises(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return helper(self.layer(x))

def broken():
    return {}["missing"]

def leaves():
    raise SystemExit(0)

def needs(width, depth=2):
    return nn.Linear(width, depth)

def not_a_model():
    return 3

number = 3

def l1(output, target):
    return (output - target).abs().mean()
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("user") / "models.py"
    path.write_text(MODELS)
    return f"{path}:"


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LANG", "en_US.UTF-8")
    monkeypatch.delenv("LC_ALL", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))


# -- without torch


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["rules"], ["explain", "W301"], ["check", "--help"], ["explain", "nope"], []],
)
def test_quick_commands_do_not_import_torch(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from fanin.cli import main\n"
        f"main({arguments!r})\n"
        "heavy = {'torch', 'scipy', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(f"fanin.cli.{name}")
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    title = (module.__doc__ or "").strip().partition("\n")[0]
    assert title.endswith(".")
    assert title in shown
    assert shown.isascii()  # a terminal that knows only ASCII must be able to show it


def test_golden_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    path = GOLDEN / "help.txt"
    if os.environ.get("FANIN_WRITE_GOLDEN"):
        path.write_text(shown)
    assert shown == path.read_text(), "changed: look at it, then run once with FANIN_WRITE_GOLDEN=1"


def test_no_command_prints_help_and_says_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "fanin demo" in capsys.readouterr().out


# -- check


def test_exit_codes_follow_the_findings(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", models + "healthy", "--data", "digits"]) == 0
    assert "starts healthy" in capsys.readouterr().out
    assert main(["check", models + "deep", "--data", "digits"]) == 1
    assert "F101" in capsys.readouterr().out
    assert main(["check", models + "deep", "--data", "digits", "--select", "W"]) == 0
    assert main(["check", models + "deep", "--data", "digits", "--ignore", "f,b"]) == 0
    lenient = ["--select", "F101", "--threshold", "F101.decades=90", "--threshold", "F101.severe=90"]
    lenient += ["--threshold", "F101.same=90"]
    assert main(["check", models + "deep", "--data", "digits", "--select", "F101"]) == 1
    assert main(["check", models + "deep", "--data", "digits", *lenient]) == 0


def test_json_is_alone_on_stdout(models: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    saved = tmp_path / "report.json"
    sys.modules.pop("_fanin_file_models", None)
    assert main(["check", models + "deep", "--data", "digits", "--json", "--save", str(saved)]) == 1
    streams = capsys.readouterr()
    report = Report.from_json(streams.out)
    assert not report.ok
    assert "prints while it is imported" in streams.err
    assert json.loads(saved.read_text()) == json.loads(streams.out)


def test_the_same_command_gives_the_same_numbers(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = []
    for seed in ("0", "0", "1"):
        main(["check", models + "deep", "--input", "64", "--json", "--seed", seed])
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] != outputs[2]


def test_flattening_is_said(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["check", models + "healthy", "--data", "digits"])
    assert "flattened to 64 values" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(
    ("name", "assumed"),
    [("ready", "64"), ("cnn", "3x28x28"), ("Tied", "16:ids=50"), ("recurrent", "16x5")],
)
def test_inputs_are_inferred_and_said(models: str, name: str, assumed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", models + name]) in (0, 1)
    assert f"samples of {assumed}" in capsys.readouterr().err.replace("\n", " ")


def test_inputs_by_keyword_and_targets(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--input", "tokens=8:ids=50", "--input", "mask=8:ones", "--batch", "6"]
    assert main(["check", models + "Keywords", *arguments]) in (0, 1)
    capsys.readouterr()
    main(["check", models + "healthy", "--input", "64", "--target", "ids=10", "--json"])
    assert json.loads(capsys.readouterr().out)["loss_kind"] == "cross_entropy"
    main(["check", models + "healthy", "--input", "64", "--target", "10", "--loss", models + "l1", "--json"])
    assert json.loads(capsys.readouterr().out)["loss_kind"] == "custom"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["check", "nowhere:make"], "no module named 'nowhere'"),
        (["check", "no_colon"], "file.py:name"),
        (["check", "missing.py:make"], "no such file"),
        (["check", "{}nothing"], "has no 'nothing'"),
        (["check", "{}needs"], "needs arguments: width"),
        (["check", "{}not_a_model"], "int"),
        (["check", "{}number"], "int"),
        (["check", "{}broken"], "KeyError"),
        (["check", "{}healthy", "--input", "65"], "65"),
        (["check", "{}healthy", "--input", "6x"], "SHAPE"),
        (["check", "{}healthy", "--data", "mnits"], "Did you mean 'mnist'"),
        (["check", "{}healthy", "--data", "digits", "--target", "ids=10"], "--data brings its own targets"),
        (["check", "{}healthy", "--data", "digits", "--select", "Q9"], "unknown rule 'Q9'"),
        (["check", "{}healthy", "--data", "digits", "--save", "r.docx"], ".json"),
        (["check", "{}healthy", "--data", "digits", "--input", "64"], "not allowed with"),
        (["check", "{}healthy", "--batch", "0"], "integer >= 1"),
        (["check", "{}Raises"], "could not be inferred"),
        (["check", "{}leaves"], "SystemExit"),
        (["check", "{}healthy", "--threshold", "F101"], "CODE.NAME=VALUE"),
        (["check", "{}healthy", "--data", "digits", "--threshold", "F101.decade=1"], "unknown threshold 'F101.decade'"),
        (["plan", "{}healthy", "--scheme", "hee"], "Did you mean 'he'"),
        (["explain", "F999"], "unknown rule"),
        (["gain", "gleu"], "Did you mean"),
        (["gain", "relu", "--q", "-1"], "q"),
        (["init", "{}healthy", "--out", "w.bin"], ".safetensors"),
        (["init", "{}healthy", "--out", "no/such/folder/w.safetensors"], "folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_used_is_one_message_and_exit_2(
    arguments: list[str], says: str, models: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([argument.format(models) for argument in arguments]) == 2
    streams = capsys.readouterr()
    assert says in streams.err
    assert "Traceback" not in streams.err
    assert "starts healthy" not in streams.out


def test_the_users_frames_come_last_and_ours_not_at_all(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", models + "Raises", "--input", "4"]) == 2
    text = capsys.readouterr().err
    frames = [line for line in text.splitlines() if line.strip().startswith("File ")]
    assert [frame.rpartition(" ")[2] for frame in frames] == ["forward", "helper"]
    assert all("models.py" in frame for frame in frames)
    assert text.strip().endswith("RuntimeError: deep inside the user's code")


def test_an_import_error_shows_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.py").write_text("import torch\n\nimport not_there_at_all\n")
    assert main(["check", f"{tmp_path / 'bad.py'}:make"]) == 2
    text = capsys.readouterr().err
    assert "line 3" in text
    assert "ModuleNotFoundError" in text
    (tmp_path / "syntax.py").write_text("def f(:\n")
    assert main(["check", f"{tmp_path / 'syntax.py'}:f"]) == 2
    assert "SyntaxError" in capsys.readouterr().err


def test_interrupts_and_crashes_have_their_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fanin.cli import rules

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    def crashed(_: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(rules, "run", interrupted)
    assert main(["rules"]) == 130
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setattr(rules, "run", crashed)
    assert main(["rules"]) == 3
    assert "fault of fanin" in capsys.readouterr().err


def test_a_closed_pipe_is_quiet() -> None:
    code = "import sys; from fanin.cli import main; sys.exit(main(['rules', '--json']))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ}
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    message = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait() in (0, 141)
    assert message == ""


# -- plan and init


def test_plan_as_json_is_a_recipe(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", models + "deep", "--data", "digits", "--scheme", "he", "--json"]) == 0
    recipe = Recipe.from_json(capsys.readouterr().out)
    assert recipe.scheme == "he"
    assert "0.weight" in recipe
    assert main(["plan", models + "deep", "--data", "digits"]) == 0
    assert "0.weight" in capsys.readouterr().out


def test_init_writes_weights_that_load(models: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_model

    import fanin
    from fanin.data import locate

    out = tmp_path / "w.safetensors"
    assert main(["init", models + "deep", "--data", "digits", "--seed", "3", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "does not start healthy" in shown
    assert "starts healthy" in shown.partition("after")[2]
    model = locate(models + "deep")()
    assert load_model(model, str(out)) == (set(), [])
    expected = locate(models + "deep")()
    fanin.init_(expected, fanin.data.load("digits").flat().batch(256, seed=0).inputs, seed=3)
    for name, value in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)
    with safe_open(str(out), "pt") as file:
        assert Recipe.from_json(file.metadata()["fanin.recipe"]).scheme == "auto"
    # never over an existing file unless told so
    before = out.read_bytes()
    assert main(["init", models + "deep", "--data", "digits", "--out", str(out)]) == 2
    assert "--force" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert main(["init", models + "deep", "--data", "digits", "--out", str(out), "--force"]) == 0
    assert out.read_bytes() != before
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_options_of_a_scheme(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    plan = ["plan", models + "deep", "--data", "digits", "--json"]
    assert main([*plan, "--set", "head_std=0", "--set", "residual=zero"]) == 0
    recipe = Recipe.from_json(capsys.readouterr().out)
    assert recipe.lines[-2].std == 0
    assert main(plan) == 0  # twin
    assert Recipe.from_json(capsys.readouterr().out).lines[-2].std > 0
    assert main([*plan, "--set", "no_such=1"]) == 2
    assert "no_such" in capsys.readouterr().err
    assert main([*plan, "--set", "head_std"]) == 2
    assert "NAME=VALUE" in capsys.readouterr().err


def test_init_leaves_a_model_that_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from safetensors.torch import load_file

    source = tmp_path / "shallow.py"
    source.write_text("from torch import nn\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n")
    out = tmp_path / "w.safetensors"
    command = ["init", f"{source}:make", "--data", "digits", "--out", str(out)]
    assert main(command) == 0
    assert "Nothing was written" in capsys.readouterr().out
    own = load_file(str(out))["1.weight"]
    assert own.abs().max() <= 1 / 8  # torch's default: U(±1/√64)
    assert main([*command, "--force"]) == 0
    assert not torch.equal(load_file(str(out))["1.weight"], own)


def test_init_keeps_ties(models: str, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, load_model

    from fanin.data import locate

    out = tmp_path / "tied.safetensors"
    assert main(["init", models + "Tied", "--out", str(out)]) == 0
    stored = load_file(str(out))
    assert len([name for name in stored if name != "steps"]) == 1
    model = locate(models + "Tied")()
    load_model(model, str(out))
    assert model.head.weight is model.embedding.weight
    assert torch.equal(model.head.weight, next(stored[name] for name in stored if name != "steps"))


def test_a_failed_init_leaves_no_file(models: str, tmp_path: Path) -> None:
    for arguments in (["--scheme", "nope"], ["--input", "7"]):
        assert main(["init", models + "healthy", "--out", str(tmp_path / "w.safetensors"), *arguments]) == 2
    assert list(tmp_path.iterdir()) == []


# -- tables


def test_gain_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gain", "relu", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["second_moment"] == pytest.approx(2**0.5, rel=1e-14)
    assert value["variance"] == pytest.approx((0.5 - 0.5 / 3.141592653589793) ** -0.5, rel=1e-14)
    assert main(["gain", "gelu", "tanh"]) == 0
    shown = capsys.readouterr().out
    density = stats.norm.pdf
    for name, function in (("gelu", lambda x: x * stats.norm.cdf(x)), ("tanh", math.tanh)):
        second = integrate.quad(lambda x, f=function: f(x) ** 2 * density(x), -30, 30, epsabs=1e-13)[0]
        assert f"{second**-0.5:.10f}" in shown, name


@pytest.mark.parametrize("name", ["rules", "schemes", "initializers"])
def test_tables_and_json_name_the_same(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert entries
    assert main([name]) == 0
    shown = capsys.readouterr().out
    for entry in entries:
        assert entry.get("code", entry["name"]) in shown
    assert all(len(line) <= 100 for line in shown.splitlines())


def test_explain_by_code_name_and_category(capsys: pytest.CaptureFixture[str]) -> None:
    from fanin.checks import rules

    for rule in rules():
        pages = []
        for word in (rule.code, rule.code.lower(), rule.name):
            assert main(["explain", word]) == 0
            pages.append(capsys.readouterr().out)
        assert pages[0] == pages[1] == pages[2]
        assert rule.code in pages[0]
        assert "What to do:" in pages[0]
        assert main(["explain", rule.category]) == 0
        assert rule.code in capsys.readouterr().out


def test_ascii_only_output(models: str) -> None:
    code = f"import sys; from fanin.cli import main; sys.exit(main(['check', {models + 'deep'!r}, '--input', '64']))"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "80"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=False)
    assert done.returncode == 1, done.stderr.decode()
    assert done.stdout.isascii()
    assert b"does not start healthy" in done.stdout
