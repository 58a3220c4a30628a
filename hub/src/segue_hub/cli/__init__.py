"""The command line: `segue-hub`.

Owns the commands and what they print. All but `serve`, `dev` and `store` talk to a running hub.
"""

from __future__ import annotations

import click

from .. import __version__
from .audiences import audience
from .customers import customer
from .decisions import decision
from .events import events
from .identities import identity
from .imports import import_
from .incidents import incident
from .journeys import journeys
from .plans import plan
from .serve import dev, serve
from .status import status
from .store import store
from .touchpoints import touchpoint


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def main() -> None:
    """Segue: one journey context for all channels, decisions in each.

    To try it: `segue-hub dev --plan examples/plan` in one terminal; it prints the export lines that a touchpoint
    needs. Commands that look inside take identifiers such as account=A-1009, and --json.
    """


for command in (
    serve, dev, plan, touchpoint, events, incident, customer, identity, decision, audience, journeys, status, store,
    import_,
):  # fmt: skip
    main.add_command(command)
