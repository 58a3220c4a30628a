"""`touchpoint`: keys."""

from __future__ import annotations

import click
from segue.v1 import admin_service_pb2 as pb

from .client import TIMEOUT, Client, hub_options
from .output import answering, console, json_option, print_json


@click.group()
def touchpoint() -> None:
    """Issue and revoke the keys of touchpoints."""


@touchpoint.command()
@click.argument("name")
@json_option
@hub_options()
def add(client: Client, name: str, as_json: bool) -> None:
    """Issues a key. It is shown once; the newest two of a touchpoint are valid, so that keys can be rotated."""
    with answering(client.address):
        key = client.admin.AddTouchpoint(pb.AddTouchpointRequest(touchpoint=name), timeout=TIMEOUT).key
    if as_json:
        print_json({"touchpoint": name, "key": key, "hub": client.address})
    else:
        console.print(f"export SEGUE_HUB={client.address}\nexport SEGUE_KEY={key}", markup=False)


@touchpoint.command()
@click.argument("name")
@hub_options()
def revoke(client: Client, name: str) -> None:
    """Makes all keys of a touchpoint invalid; its streams end within seconds."""
    with answering(client.address):
        count = client.admin.RevokeTouchpoint(pb.RevokeTouchpointRequest(touchpoint=name), timeout=TIMEOUT).revoked
    console.print(f"{count} keys of {name} revoked")
