"""`serve` and `dev`: commands that run a hub."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import tempfile
from pathlib import Path

import click
import structlog
from segue.errors import ConfigError
from watchfiles import awatch

from ..app import Hub
from ..checking.plan_check import check_plan, read_directory
from ..limits import limits_of, told
from ..services.touchpoints import ADMIN
from ..settings import Settings
from ..storage.ports import StoreBroken
from ..storage.sqlite import StoreInUse
from .allocator import give_back_large_blocks
from .cycles import seek_among_the_young, seek_rarely
from .output import console, fail


def _configure_log(form: str) -> None:
    people = form == "people" or (form == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # rich shows local values
        )
        if people
        else structlog.processors.JSONRenderer()
    )
    # Local values would be what customers' facts say: a log tells places, never those.
    tracebacks = structlog.processors.ExceptionRenderer(
        structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            tracebacks if not people else structlog.processors.StackInfoRenderer(),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _tune() -> None:
    """Fits the interpreter to a hub: much memory that lives long, and two threads that work hand in hand.

    The writer's thread waits for the interpreter after every statement; at the usual 5 ms a busy loop would let it wait
    longer than it works.
    """
    give_back_large_blocks()
    seek_among_the_young()
    sys.setswitchinterval(0.0005)


async def _begun(hub: Hub) -> None:
    """Serves. Whoever sees that it does may tell it to stop, so it listens to that first."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, hub.ask_to_stop)
    await _started(hub)


async def _until_told(hub: Hub) -> str:
    broken = await hub.wait()
    # Nothing more will be acknowledged: no stream is worth waiting for.
    await hub.stop(0.4 if broken else 5.0)
    return broken


def _made(settings: Settings) -> Hub:
    try:
        return Hub(settings)
    except ConfigError as error:
        fail(str(error), 2)
        raise
    except (StoreInUse, StoreBroken) as error:
        fail(str(error))
        raise


async def _started(hub: Hub) -> None:
    try:
        await hub.start()
    except (RuntimeError, OSError) as error:  # gRPC says RuntimeError where it cannot listen
        fail(f"the hub cannot listen on {hub.settings.host}: {error}")


async def _admin_key(hub: Hub, store: Path) -> None:
    """Keeps an admin key beside the store, readable by its owner only; made where there is none."""
    path = store.with_name(f"{store.name}.admin-key")
    if path.is_file() and hub.touchpoints.owner(path.read_text(encoding="utf-8").strip()) == ADMIN:
        return
    key = await hub.touchpoints.issue_admin()
    # Written aside and moved: whoever waits for the file finds a whole key in it.
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    fresh.write_text(key + "\n", encoding="utf-8")
    fresh.replace(path)
    console.print(f"admin key written to {path}: export SEGUE_ADMIN_KEY=$(cat {path})")


async def _serve(settings: Settings) -> str:
    _tune()
    hub = _made(settings)
    await _begun(hub)
    assert settings.store is not None
    await _admin_key(hub, settings.store)
    seeking = asyncio.create_task(seek_rarely(lambda: hub.ingest.busy), name="cycles")
    try:
        return await _until_told(hub)
    finally:
        seeking.cancel()


_DECISIONS = click.option(
    "--decisions", multiple=True, metavar="MODULE[:OBJECT]",
    help="Run the decision functions of this module (or FILE.py) in the hub; may be repeated.",
)  # fmt: skip

_LIMIT = click.option(
    "--limit", "limits", multiple=True, metavar="NAME=NUMBER",
    help="How much the hub takes on at most; may be repeated. The names and their defaults are listed below.",
)  # fmt: skip
_KNOWN_LIMITS = "Limits:\n\n\b\n" + told()


@click.command(epilog=_KNOWN_LIMITS)
@click.option(
    "--store", type=click.Path(path_type=Path), default=Path("segue.db"), show_default=True, help="SQLite file."
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=7171, show_default=True, help="gRPC; 0 takes a free one.")
@click.option("--http-port", default=7172, show_default=True, help="Metrics, health, HTTP events; 0 takes a free one.")
@click.option("--certificate", type=click.Path(path_type=Path), help="TLS certificate chain (PEM).")
@click.option("--private-key", type=click.Path(path_type=Path), help="TLS private key (PEM).")
@click.option("--insecure", is_flag=True, help="No TLS. Listens on loopback only.")
@click.option(
    "--heads",
    default=10_000,
    show_default=True,
    help="Live contexts kept in memory; fewer where they hold more than 8 facts each, of 450 bytes.",
)
@_DECISIONS
@_LIMIT
@click.option("--log", "log_form", type=click.Choice(["auto", "json", "people"]), default="auto", show_default=True)
def serve(
    store: Path, host: str, port: int, http_port: int, certificate: Path | None, private_key: Path | None,
    insecure: bool, heads: int, decisions: tuple[str, ...], limits: tuple[str, ...], log_form: str,
) -> None:  # fmt: skip
    """Runs a hub on one SQLite file, until SIGTERM or Ctrl-C.

    The first start writes an admin key beside the store. Exits with 1 where the store cannot be trusted any more.
    """
    _configure_log(log_form)
    try:
        bounds = limits_of(limits)
    except ConfigError as error:
        fail(str(error), 2)
        return
    settings = Settings(
        store=store, host=host, port=port, http_port=http_port, certificate=certificate, private_key=private_key,
        insecure=insecure, heads=heads, decisions=decisions, limits=bounds,
    )  # fmt: skip
    broken = asyncio.run(_serve(settings))
    if broken:
        fail(f"the store cannot promise durability any more: {broken}")


async def _push(hub: Hub, folder: Path, files: dict[str, str]) -> None:
    checked = check_plan(files)
    for problem in checked.problems:
        console.print(f"  {folder.name}/{problem}", markup=False)
    if checked.document is None:
        stays = "plan not pushed; the last good one stays" if hub.plans.history else "no plan yet: mend it and save"
        console.print(stays)
    else:
        stored, changed = await hub.plans.push(checked.document, files, "dev", "")
        console.print(f"plan {stored.digest} in force" if changed else f"plan {stored.digest} unchanged")
    sys.stdout.flush()


async def _dev(settings: Settings, folder: Path | None, touchpoint: str) -> None:
    hub = _made(settings)
    await _begun(hub)
    files = read_directory(folder) if folder is not None else {}
    if folder is not None:
        await _push(hub, folder, files)
    key, admin = await hub.touchpoints.issue(touchpoint), await hub.touchpoints.issue_admin()
    console.print("\nIn the touchpoint's terminal:\n")
    console.print(f"export SEGUE_HUB={hub.settings.host}:{hub.port}\nexport SEGUE_KEY={key}", markup=False)
    console.print("\nTo look inside (segue-hub status, customer show, events send ...):\n")
    console.print(f"export SEGUE_ADMIN_KEY={admin}", markup=False)
    console.print(f"\nHTTP events and metrics: http://{hub.settings.host}:{hub.http_port}  ·  Ctrl-C ends it")
    sys.stdout.flush()
    watcher = asyncio.create_task(_reload(hub, folder, files)) if folder is not None else None
    await _until_told(hub)
    if watcher is not None:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)


async def _reload(hub: Hub, folder: Path, files: dict[str, str]) -> None:
    """Pushes what was saved; looks once a second too, for what was saved before the watch began."""
    async for _ in awatch(folder, step=100, rust_timeout=1000, yield_on_timeout=True):
        saved = read_directory(folder)
        if saved != files:
            files = saved
            await _push(hub, folder, files)


@click.command()
@click.option(
    "--plan", "folder", type=click.Path(path_type=Path, exists=True, file_okay=False), help="A plan's directory."
)
@click.option("--touchpoint", default="chat", show_default=True, help="Whose key is printed.")
@click.option("--port", default=7171, show_default=True, help="0 takes a free one.")
@click.option("--http-port", default=7172, show_default=True, help="0 takes a free one.")
@_DECISIONS
def dev(folder: Path | None, touchpoint: str, port: int, http_port: int, decisions: tuple[str, ...]) -> None:
    """Runs a hub to try things with: temporary store, loopback, the plan reloaded when a file is saved.

    Prints the export lines that a touchpoint needs, and those to look inside.
    """
    _configure_log("people")
    with tempfile.TemporaryDirectory(prefix="segue-dev-") as temporary:
        settings = Settings(
            store=Path(temporary) / "segue.db", port=port, http_port=http_port, insecure=True, decisions=decisions
        )
        asyncio.run(_dev(settings, folder, touchpoint))
