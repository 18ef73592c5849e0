"""The command that serves the page and the REST API."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from ..errors import BackendMissing, ConfigError
from .clustered import RayOption, parts_on
from .options import ConfigOption, DeviceOption, IndexOption, ModelOption, OfflineOption, existing_folder, settings

LARGEST_UPLOAD = 1024  # MiB


def serve(
    index: IndexOption = None,
    config: ConfigOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    offline: OfflineOption = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; beyond this machine, a token is needed.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0 takes a free one.")] = 8765,
    token: Annotated[
        str | None, typer.Option(help="What every request must carry; better by INTERLEAVE_TOKEN.")
    ] = None,
    root: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER", parser=existing_folder, help="Photos below may be taken in by the page. Repeatable."
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="A further host name under which the server is reached. Repeatable."),
    ] = None,
    base_path: Annotated[
        str, typer.Option(metavar="PATH", help="Path below which a proxy shows the server, as /photos.")
    ] = "",
    proxy: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="A proxy whose X-Forwarded-* headers are believed. Repeatable."),
    ] = None,
    queue: Annotated[int, typer.Option(min=0, max=10_000, help="Requests that may wait; more are refused (429).")] = 64,
    ray: RayOption = None,
    parts: Annotated[
        int | None, typer.Option(min=1, help="With --ray: parts of the library; one for each machine unless said.")
    ] = None,
    replicas: Annotated[int, typer.Option(min=1, help="With --ray: machines that hold each part.")] = 2,
    upload_mb: Annotated[int, typer.Option(min=1, max=LARGEST_UPLOAD, help="Largest picture of a query, MiB.")] = 32,
) -> None:
    """Open page and REST API, by default on this machine only. Ctrl-C ends it."""
    web = _room()
    folder, effective = settings(index, config, models_interface=model, models_device=device, models_offline=offline)
    roots = tuple(path.absolute() for path in root or ())
    try:
        serve_settings = web.ServeSettings(
            host=host,
            port=port,
            token=token or os.environ.get(web.TOKEN_VARIABLE) or None,
            roots=roots,
            names=tuple(name or ()),
            base_path=base_path.rstrip("/"),
            proxies=tuple(proxy or ()),
            waiting=queue,
            upload_bytes=upload_mb * web.MIB,
        )
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None

    def end(*_: object) -> NoReturn:
        raise SystemExit(0)  # so that what is open is closed, as after Ctrl-C

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)

    def ready(address: str) -> None:
        print(f"interleave-index: {address}  (Ctrl-C ends it)", file=sys.stderr, flush=True)
        if serve_settings.token is not None:
            print("the page asks for the token once", file=sys.stderr, flush=True)

    if ray is None:
        web.serve(str(folder), effective, serve_settings, ready=ready)
        return
    with parts_on(ray, str(folder), parts, replicas) as served:
        web.serve(
            str(folder),
            effective,
            serve_settings,
            ready=ready,
            prepare=lambda index: index.search_through(served.library),
        )


def _room() -> Any:
    """The web package, which needs the extra `web`."""
    try:
        from types import SimpleNamespace

        from ..web.serve import serve as run
        from ..web.settings import MIB, TOKEN_VARIABLE, ServeSettings
    except ModuleNotFoundError as missing:
        raise BackendMissing(
            f"{missing.name} is not installed, which the page needs; "
            'install it by `pip install "interleave-index[web]"`'
        ) from missing
    return SimpleNamespace(serve=run, ServeSettings=ServeSettings, TOKEN_VARIABLE=TOKEN_VARIABLE, MIB=MIB)
