"""The deployments for work pools that no test can run hold to Prefect's schemas, and a real server takes them."""

import json
import subprocess
import sys
from pathlib import Path

import prefect
import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
DEPLOY = CHECKOUT / "docs" / "deploy"
KINDS = {
    "prefect-docker.yaml": ("prefect-docker", "docker"),
    "prefect-kubernetes.yaml": ("prefect-kubernetes", "kubernetes"),
}
WORKERS = Path(prefect.__file__).parent / "server/api/collections_data/views/aggregate-worker-metadata.json"


def _deployment(name):
    (found,) = yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))["deployments"]
    return found


def _errors(name, variables):
    """What Prefect finds wrong in a pool's variables, by the schema that it ships for that kind of worker."""
    from prefect.utilities.schema_tools.validation import validate

    package, kind = KINDS[name]
    template = json.loads(WORKERS.read_text(encoding="utf-8"))[package][kind]["default_base_job_configuration"]
    schema = {"additionalProperties": False, **template["variables"]}
    return validate(variables, schema, raise_on_error=False)


@pytest.mark.parametrize("name", KINDS)
def test_the_variables_fit_the_workers_schema(name):
    variables = _deployment(name)["work_pool"]["job_variables"]
    assert _errors(name, variables) == []
    assert _errors(name, {**variables, "imagee": "x"}) != []
    assert _errors(name, {**variables, "image_pull_policy": "Sometimes"}) != []


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_server_takes_them(toy, prefect_variable, name):
    env = {**toy.environment(), "PWD": str(toy.root)}

    def prefect_command(*arguments):
        command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        ended = subprocess.run(command, cwd=toy.root, env=env, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    deployment = _deployment(name)
    pool = deployment["work_pool"]["name"]
    prefect_command("work-pool", "create", pool, "--type", KINDS[name][1])
    (toy.root / name).write_text((DEPLOY / name).read_text(encoding="utf-8"))
    prefect_command("deploy", "--prefect-file", name, "--all")
    inspected = prefect_command("deployment", "inspect", f"ganpress/{deployment['name']}", "--output", "json")
    found = json.loads(inspected)
    assert found["work_pool_name"] == pool
    assert found["job_variables"] == deployment["work_pool"]["job_variables"]
