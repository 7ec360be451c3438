"""A receiver of OTLP over HTTP on the loopback: it understands what it is sent with the official message types, or refuses it."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

_KINDS: dict[str, tuple[Any, Any]] = {
    "/v1/traces": (ExportTraceServiceRequest, ExportTraceServiceResponse),
    "/v1/metrics": (ExportMetricsServiceRequest, ExportMetricsServiceResponse),
}


@dataclass(slots=True)
class Received:
    """What has arrived so far."""

    url: str
    requests: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def resources(self) -> list[dict[str, Any]]:
        """Who told, for every piece that arrived."""
        pieces = [p for _, r in self.requests for p in _pieces(r)]
        return [_plain(piece.resource.attributes) for piece in pieces]

    @property
    def spans(self) -> list[Any]:
        """Every span."""
        traces = [request for path, request in self.requests if path == "/v1/traces"]
        scopes = [s for request in traces for p in request.resource_spans for s in p.scope_spans]
        return [span for scope in scopes for span in scope.spans]

    @property
    def metrics(self) -> dict[str, Any]:
        """Every metric, by its name."""
        told = [request for path, request in self.requests if path == "/v1/metrics"]
        scopes = [s for request in told for p in request.resource_metrics for s in p.scope_metrics]
        return {metric.name: metric for scope in scopes for metric in scope.metrics}


def attributes(span: Any) -> dict[str, Any]:
    """A span's attributes."""
    return _plain(span.attributes)


def _pieces(request: Any) -> Any:
    traces = isinstance(request, ExportTraceServiceRequest)
    return request.resource_spans if traces else request.resource_metrics


def _plain(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@contextmanager
def receiving() -> Iterator[Received]:
    """A receiver, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the base class calls it so
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            asked, answer = _KINDS[self.path]
            received.requests.append((self.path, asked.FromString(body)))
            told = answer().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received = Received(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield received
        finally:
            server.shutdown()
            thread.join()
