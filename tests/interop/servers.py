"""The matrix's servers: one line of facts each."""

import re
import shutil
import signal
from collections.abc import Callable, Sequence

from tests.interop import applications, proxies
from tests.interop.applications import environ
from tests.interop.installed import GO, JAVA, PYTHON, RUST, WALLETS, Debian, first_line, python_version
from tests.interop.proxies import before, missing
from tests.interop.running import Processes, Program
from tests.interop.server import Reload, Server, by_command, handover, on_signal, with_gap
from tests.interop.site import Site

THREADED = "each call holds a thread of the application: slow calls would delay the others there, not on the connection"
FRONTS_OWN = "it is about the proxy alone, which has its own lines"
Facts = tuple[Callable[[], str], Callable[[], str]]
"""What is missing, and the version."""
HANDOVER = (handover, "a second process takes the listening socket over, the first one ends gracefully")
_APPLICATION = {"idle close": FRONTS_OWN, "odd SETTINGS": FRONTS_OWN, "expiring": THREADED}


def _inheriting(*argv: str, ready: str = "") -> Callable[[Site], Sequence[Program]]:
    return lambda site: (Program(argv, environ(site), ready=ready, port=site.port, inherits=True),)


def _java(name: str, *, inherits: bool = True) -> Callable[[Site], Sequence[Program]]:
    classes = f"{JAVA.target}/classes:{JAVA.target}/dependencies/*"
    argv = ("java", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp", classes, "interop.Main", name)
    return lambda site: (Program(argv, environ(site), ready="ready", port=site.port, inherits=inherits),)


def _pinned(name: str) -> Callable[[], str]:
    text = (JAVA.source / "pom.xml").read_text(encoding="utf-8")
    found = re.search(rf"<{name}.version>(.*?)</", text)
    assert found is not None
    return lambda: found[1]


def _crates() -> str:
    pinned = (RUST.source / "Cargo.toml").read_text(encoding="utf-8")
    versions = dict(re.findall(r'^(axum|hyper-util) = { version = "=(.*?)"', pinned, re.MULTILINE))
    return f"axum {versions['axum']}, hyper-util {versions['hyper-util']}"


def _of_python(name: str) -> Facts:
    return PYTHON.missing, lambda: python_version(name)


def _no_node() -> str:
    return "" if shutil.which("node") else "node is not installed; on Debian: apt-get install nodejs"


def _version(*argv: str) -> Callable[[], str]:
    return lambda: first_line(*argv[:-1], pattern=argv[-1])


def _varnish(site: Site) -> Sequence[Program]:
    return (applications.ASGI.program(site), *proxies.varnish(site))


def _hypercorn(site: Site) -> Sequence[Program]:
    file = site.file(
        "hypercorn.toml",
        idle=f"keep_alive_timeout = {site.idle_s}",
        certificate=site.pem('certfile = "{certificate}"\nkeyfile = "{key}"'),
        odd=site.odd(
            "h2_max_concurrent_streams = 1\nh2_max_header_list_size = 2048\nh2_max_inbound_frame_size = 16384"
        ),
    )
    argv = [f"{PYTHON.target}/bin/hypercorn", "--config", str(file), "asgi_app:app"]
    return (Program(argv, environ(site), ready="Running on", port=site.port, inherits=True),)


def _granian(site: Site) -> Sequence[Program]:
    argv = [f"{PYTHON.target}/bin/granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", str(site.port)]
    argv += ["--http", "2", "--workers", "1", "--backlog", "1024", "--backpressure", "4096"]
    argv += site.pem("--ssl-certificate {certificate} --ssl-keyfile {key}").split()
    sizes = ("max-concurrent-streams 10", "initial-stream-window-size 1024", "max-frame-size 16384")
    argv += [word for size in sizes for word in f"--http2-{size}".split() if site.is_odd]
    return (Program([*argv, "asgi_app:app"], environ(site), port=site.port),)


async def _envoy_restart(processes: Processes, _site: Site) -> None:
    """Start the next epoch, which takes the sockets over and lets the last one drain; there are never three."""
    await processes.until_one_is_left()
    program = processes.front.program
    argv = list(program.argv)
    epoch = 0
    if "--restart-epoch" in argv:
        epoch = int(argv.pop())
        argv.remove("--restart-epoch")
    await processes.start(Program([*argv, "--restart-epoch", str(epoch + 1)], ready=program.ready, port=program.port))


async def _varnish_reload(processes: Processes, site: Site) -> None:
    """Compile the VCL again under a new name and use that."""
    name = f"again{len(list(site.folder.glob('again*')))}"
    (site.folder / name).touch()
    control = (shutil.which("varnishadm") or "varnishadm", "-n", str(site.folder / "varnish"))
    await processes.run(*control, "vcl.load", name, str(site.folder / "varnish.vcl"))
    await processes.run(*control, "vcl.use", name)


def _server(
    name: str,
    programs: Callable[[Site], Sequence[Program]],
    facts: Facts,
    how: tuple[Reload, str] = HANDOVER,
    *,
    idle: str = "",
) -> Server:
    never = {} if idle else {"idle close": "it closes no idle connection"}
    if name not in ODD:
        never["odd SETTINGS"] = "its SETTINGS cannot be set"
    return Server(name, programs, *facts, *how, never, ODD.get(name, ""), name in QUICK, idle)


def _proxy(name: str, front: Callable[[Site], Program], proxy: Debian, how: tuple[Reload, str], idle: str) -> Server:
    return _server(name, before(front), (missing(proxy.missing, PYTHON.missing), proxy.version), how, idle=idle)


def _behind(
    front: Server, start: Callable[..., Program], application: applications.Application, *, quick: bool = False
) -> Server:
    return Server(
        f"{application.name}, {front.name}",
        before(start, application),
        missing(front.missing, application.missing),
        lambda: f"{application.version()}; {front.name} {front.version()}",
        front.reload,
        front.reload_word,
        _APPLICATION,
        quick=quick,
    )


ODD = {
    "nginx": "1 stream, a window of 1 byte for each body, answers in chunks of 1 byte",
    "HAProxy": "1 stream, window of 1 byte, the smallest header table it knows (4,096)",
    "Apache httpd": "1 stream, the smallest window it knows (1,024)",
    "H2O": "1 request at a time",
    "Envoy": "1 stream, header table of 0, the smallest window it knows (65,535)",
    "nghttpx": "1 stream, header table of 0, window of 1 byte",
    "Varnish": "1 stream, header table of 0",
    "Go net/http": "1 stream, header table of 1, window of 1 byte",
    "Node.js http2": "1 stream, header table of 0, window of 1 byte",
    "Jetty": "1 stream, header table of 0, window of 1 byte",
    "Tomcat": "1 stream, window of 256 bytes (bodies in smaller pieces it takes for an attack)",
    "Undertow": "1 stream, header table of 0, window of 64 bytes (one of 1 byte it never opens again)",
    "hypercorn": "1 stream",
    "granian": "10 streams (the fewest it knows), window of 1,024 bytes",
    "hyper (axum)": "1 stream, window of 1 byte",
}
"""The odd SETTINGS of those whose SETTINGS can be set, for the document."""
QUICK = {"nginx", "HAProxy", "lighttpd", "Envoy", "Go net/http", "Node.js http2", "Jetty"}

HUP, USR1, USR2 = map(on_signal, (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2))
NGINX = _proxy("nginx", proxies.NGINX_HTTP, proxies.NGINX, (HUP, "SIGHUP"), "keepalive_timeout")
MASTER = (USR2, "SIGUSR2 to the master")
HAPROXY = _proxy("HAProxy", proxies.haproxy, proxies.HAPROXY, MASTER, "timeout http-keep-alive")
FORCED = (by_command(proxies.CADDY_RELOAD), "caddy reload --force")
CADDY = _proxy("Caddy", proxies.CADDY_HTTP, proxies.CADDY, FORCED, "timeouts.idle")
GRACEFUL, RESTART = (USR1, "SIGUSR1 (graceful)"), (USR1, "SIGUSR1 (graceful restart)")
ENVOY = (missing(PYTHON.missing), proxies.envoy_version)
VARNISH = (
    missing(proxies.VARNISH.missing, proxies.HITCH.missing, PYTHON.missing),
    lambda: f"{proxies.VARNISH.version()}, TLS by hitch {proxies.HITCH.version()}",
)
_GO, _AXUM = (_inheriting(path, ready="ready") for path in (f"{GO.target}/wallet", f"{RUST.target}/release/wallet"))
_NODE = _inheriting("node", str(WALLETS / "node" / "wallet.mjs"), ready="ready")
_UNDERTOW = _java("undertow", inherits=False)
GAP = (with_gap, "graceful end, then a new start: no process listens in between")
SERVERS = (
    *(NGINX, HAPROXY, CADDY),
    _proxy("Apache httpd", proxies.apache, proxies.APACHE, GRACEFUL, "KeepAliveTimeout"),
    _proxy("lighttpd", proxies.lighttpd, proxies.LIGHTTPD, RESTART, "server.max-keep-alive-idle"),
    _proxy("H2O", proxies.h2o, proxies.H2O, (HUP, "SIGHUP to the master"), "http2-idle-timeout"),
    _server("Envoy", before(proxies.envoy), ENVOY, (_envoy_restart, "hot restart"), idle="idle_timeout"),
    _proxy("nghttpx", proxies.nghttpx, proxies.NGHTTPX, (HUP, "SIGHUP"), "frontend-http2-read-timeout"),
    _server("Varnish", _varnish, VARNISH, (_varnish_reload, "vcl.load and vcl.use"), idle="timeout_idle"),
    _server("Go net/http", _GO, (GO.missing, _version("go", "version", r"go(\d\S+)")), idle="IdleTimeout"),
    _server("Node.js http2", _NODE, (_no_node, _version("node", "--version", r"v(\S+)")), idle="session.setTimeout"),
    _server("Jetty", _java("jetty"), (JAVA.missing, _pinned("jetty")), idle="idleTimeout"),
    _server("Tomcat", _java("tomcat"), (JAVA.missing, _pinned("tomcat")), idle="keepAliveTimeout"),
    _server("Undertow", _UNDERTOW, (JAVA.missing, _pinned("undertow")), GAP, idle="NO_REQUEST_TIMEOUT"),
    _server("hypercorn", _hypercorn, _of_python("hypercorn"), idle="keep_alive_timeout"),
    _server("granian", _granian, _of_python("granian"), (HUP, "SIGHUP")),
    _server("hyper (axum)", _AXUM, (RUST.missing, _crates)),
    _behind(HAPROXY, proxies.haproxy, applications.DJANGO_GUNICORN, quick=True),
    _behind(CADDY, proxies.CADDY_HTTP, applications.DJANGO_GUNICORN),
    _behind(HAPROXY, proxies.haproxy, applications.DJANGO_UWSGI),
    _behind(CADDY, proxies.CADDY_HTTP, applications.DJANGO_UWSGI),
    _behind(NGINX, proxies.NGINX_UWSGI, applications.DJANGO_UWSGI_PROTOCOL),
    _behind(CADDY, proxies.CADDY_PHP, applications.PHP_FPM),
    _behind(NGINX, proxies.NGINX_PHP, applications.PHP_FPM),
    _behind(HAPROXY, proxies.haproxy, applications.FLASK),
    _behind(CADDY, proxies.CADDY_HTTP, applications.FLASK),
)
