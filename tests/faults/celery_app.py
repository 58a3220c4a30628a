"""Tasks that tell facts, as a worker of Celery loads them: one touchpoint per module, made when that is imported.

Owns `celery` and its task. Messages are files in a folder: Celery's own transport for one machine. Where `CELERY_USED`
is set the touchpoint is used while the module is loaded, in the process that the pool's children are forked from.
"""

from __future__ import annotations

import os
from pathlib import Path

import segue
from celery import Celery

_FOLDER = Path(os.environ["CELERY_FOLDER"])
_MESSAGES = str(_FOLDER / "messages")
celery = Celery(
    "celery_app", broker="filesystem://", set_as_current=False,
    broker_transport_options={
        "data_folder_in": _MESSAGES, "data_folder_out": _MESSAGES, "control_folder": str(_FOLDER / "control"),
    },
)  # fmt: skip
celery.conf.update(worker_hijack_root_logger=False, worker_max_tasks_per_child=7, task_ignore_result=True)
touchpoint = segue.Touchpoint(
    "app", hub=os.environ["CELERY_HUB"], key=os.environ["CELERY_KEY"], state=_FOLDER / "state"
)
if os.environ.get("CELERY_USED"):
    with touchpoint.session(account="parent", wait="5s") as _session:
        _session.track("transfer.started", transfer_id="P")


@celery.task(name="tell")  # type: ignore[untyped-decorator]
def tell(number: int) -> None:
    """The last thing that a task does is to tell a fact; after some of them, so does its process."""
    with touchpoint.session(account=f"C-{number % 20}", wait="150ms") as session:
        session.track("transfer.started", transfer_id=str(number))
    with (_FOLDER / "told").open("a") as file:
        file.write(f"{number} {os.getpid()}\n")
