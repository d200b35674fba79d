"""What Python executes in a stage, as one digest: the definitions that its module reaches, without words and positions.

`dvc.yaml` lets each stage depend on the file of its digest below artifacts/code and on no source file. The stage `code`
writes all of them, a flow writes a stage's before it, and the stage itself writes its own when it starts.
"""
