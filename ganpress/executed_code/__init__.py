"""Computes one digest of the code that a stage executes: the definitions that its module reaches.

Comments, docstrings and positions are not part of it. In `dvc.yaml` each stage depends on the file of its digest below
artifacts/code and on no source file. The stage `code` writes all digests, a flow writes a stage's digest before it
runs, and the stage itself writes its own when it starts.
"""
