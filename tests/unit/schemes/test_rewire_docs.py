"""Every snippet of docs/rewiring.md runs, in order; and its table names what is added."""

from __future__ import annotations

import re
from pathlib import Path

import torch

import fanin
from fanin.schemes._examples import ResNet, Transformer, batch

TEXT = (Path(__file__).parents[3] / "docs" / "rewiring.md").read_text(encoding="utf-8")


def test_snippets_run(capsys):
    torch.manual_seed(0)
    snippets = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(snippets) == 3
    names: dict[str, object] = {}
    for snippet in snippets:
        exec(compile(snippet, "rewiring.md", "exec"), names)
    shown = capsys.readouterr().out
    assert "layers.0.dropout1: output × branch_scale, a learned scalar" in shown
    assert "ω of residual branch 4 of 4" in shown


def test_the_table_names_what_is_added():
    rows = re.findall(r"^\| (`.*?`) \| .* \|(.*?)\|$", TEXT, re.MULTILINE)
    stated = {scheme: set(re.findall(r"`(\w+)`", row[1])) for row in rows for scheme in re.findall(r"`(\w+)`", row[0])}
    assert set(stated) == {
        *("rezero", "skipinit", "layerscale", "fixup", "deepnorm", "admin", "sub_ln", "t_fixup", "nfnet")
    }
    ids = torch.arange(24).reshape(4, 6) % 19
    for scheme, names in stated.items():
        convolves = scheme in ("nfnet", "fixup", "skipinit")
        model = ResNet() if convolves else Transformer(post=scheme in ("deepnorm", "admin"))
        changes = fanin.rewire_(model, batch(6, 3, 8, 8) if convolves else ids, scheme=scheme).changes
        made = {change.arguments["name"] for change in changes if "name" in change.arguments}
        made |= {name.rpartition(".")[2] for name in model.state_dict() if name.endswith("weight_gain")}
        assert made == names - {"bias_after"}, scheme
