"""Where a program of its own sends its telemetry: where the standard OTEL_* variables say.

Done as `opentelemetry-instrument` does it, and left to it where it was there first. What cannot be delivered is said in one line; it
neither fails a run nor holds up its end for long.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any

from delegator import __version__
from delegator.errors import ConfigError
from delegator.sanitize import one_line
from delegator.telemetry import INSTALL, MISSING, instrument

DELIVERY_SECONDS = 5.0
"""How long a collector may take, unless a variable says otherwise."""
_TIMEOUT = "OTEL_EXPORTER_OTLP_TIMEOUT"

Notice = Callable[[str], None]


@contextmanager
def exporting(notice: Notice) -> Iterator[None]:
    """Follow every run in the block, and send what is seen; `notice` hears what a person should know.

    Raises:
        ConfigError: The extra is not installed, or a variable asks for an exporter that is not.
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        yield
        return
    try:
        from opentelemetry import trace  # noqa: PLC0415 - only when used
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(MISSING, hint=INSTALL) from error
    os.environ.setdefault(_TIMEOUT, str(DELIVERY_SECONDS))
    there = trace.get_tracer_provider()
    with _heard(notice), instrument():
        if isinstance(there, TracerProvider):
            yield
            return
        ends = [_traces(), _metrics()]
        try:
            yield
        finally:
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda end: end(), ends))


def _traces() -> Callable[[], None]:
    """Send spans from now on. Gives what sends the last of them."""
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
    for exporter in _exporters("OTEL_TRACES_EXPORTER", "opentelemetry_traces_exporter"):
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider.shutdown


def _metrics() -> Callable[[], None]:
    """Send metrics from now on. Gives what sends the last of them."""
    from opentelemetry import metrics  # noqa: PLC0415
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415

    exporters = _exporters("OTEL_METRICS_EXPORTER", "opentelemetry_metrics_exporter")
    provider = MeterProvider(
        [PeriodicExportingMetricReader(exporter) for exporter in exporters],
        resource=_resource(),
        shutdown_on_exit=False,
    )
    metrics.set_meter_provider(provider)
    return provider.shutdown


def _resource() -> Any:
    """Who tells: what the variables say, else the name of this program."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415

    told = Resource.create({"service.version": __version__})
    if str(told.attributes["service.name"]).startswith("unknown_service"):
        return told.merge(Resource({"service.name": "delegator"}))
    return told


def _exporters(variable: str, group: str) -> list[Any]:
    """The exporters that a variable names, by the names under which packages register them.

    Raises:
        ConfigError: There is none of that name, or it cannot be made.
    """
    names = [name.strip() for name in os.environ.get(variable, "otlp").split(",")]
    return [_exporter(name, variable, group) for name in names if name not in ("", "none")]


def _exporter(name: str, variable: str, group: str) -> Any:
    shown = one_line(name, 40)
    if name == "otlp":
        protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        name = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    found = next(iter(entry_points(group=group, name=name)), None)
    if found is None:
        raise ConfigError(
            f"{variable} asks for {shown}, and no installed package exports so",
            hint="Install that exporter, or use otlp over http/protobuf, console or none.",
        )
    try:
        kind = found.load()
        return kind(out=sys.stderr) if name == "console" else kind()
    except Exception as error:
        raise ConfigError(
            f"the exporter {shown} cannot be made: {type(error).__name__}",
            hint="Check the OTEL_EXPORTER_* variables.",
        ) from error


@contextmanager
def _heard(notice: Notice) -> Iterator[None]:
    """Keep what OpenTelemetry complains about off the terminal; say at the end, once, that something was not delivered."""
    listening = _Complaints()
    log = logging.getLogger("opentelemetry")
    before, log.propagate = log.propagate, False
    log.addHandler(listening)
    try:
        yield
    finally:
        log.removeHandler(listening)
        log.propagate = before
        if listening.last:
            notice(f"telemetry was not delivered: {one_line(listening.last, 160)}")


class _Complaints(logging.Handler):
    """Keeps the last serious one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()
