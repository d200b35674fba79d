"""The command `ganpress demo`."""

import sys

import pytest

from flows.__main__ import main


def test_file_that_browsers_do_not_run_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    phone = tmp_path / "artifacts" / "export" / "phone"
    phone.mkdir(parents=True)
    (phone / "generator.pte").write_bytes(b"a program of ExecuTorch")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ganpress", "demo", "--original", "phone", "--out", "site"])
    with pytest.raises(SystemExit, match="2"):
        main()
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "ganpress: phone is generator.pte, which browsers do not run; choose an ONNX file: none; or add an item with "
        "target: onnx to export.items in params.yaml and `ganpress run`"
    )
    assert not (tmp_path / "site").exists()
