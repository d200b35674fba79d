"""Sets up an automation of Prefect: a POST to an address whenever a run of ganpress fails, crashes or starts late.

    python docs/deploy/automation.py https://example.org/hook

`PREFECT_API_URL` and `PREFECT_API_AUTH_STRING` name the server, which must be one that stands (`ganpress ui`, `ganpress
serve` or `prefect server start`). The server itself sends the POST, so it also tells of runs whose machine is gone;
`--on-failure` cannot. A second call replaces the automation.
"""

import contextlib
import sys

from prefect.automations import Automation
from prefect.blocks.webhook import Webhook
from prefect.events.actions import CallWebhook
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

NAME = "ganpress-failed"
STATES = ("Failed", "Crashed", "TimedOut", "Late")
BODY = """{"run": {{ flow_run.name|tojson }}, "state": {{ flow_run.state.name|tojson }},
 "message": {{ flow_run.state.message|tojson }}}"""


def main() -> None:
    """Save the address as a block and create the automation that posts to it."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python docs/deploy/automation.py ADDRESS")
    block = Webhook(method="POST", url=sys.argv[1]).save(NAME, overwrite=True)
    with contextlib.suppress(ObjectNotFound, ValueError):
        Automation.read(name=NAME).delete()
    trigger = EventTrigger(
        expect={f"prefect.flow-run.{state}" for state in STATES},
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related={"prefect.resource.role": "flow", "prefect.resource.name": "ganpress"},
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        threshold=1,
    )
    Automation(
        name=NAME,
        description="Tells of runs of ganpress that failed, crashed or start late.",
        trigger=trigger,
        actions=[CallWebhook(block_document_id=block, payload=BODY)],
    ).create()
    print(f"{NAME}: posts to the address when a run is {', '.join(STATES)}")


if __name__ == "__main__":
    main()
