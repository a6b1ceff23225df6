"""The matrix's servers: one line of facts each."""

import re
import shutil
import signal
from collections.abc import Callable, Sequence

from tests.interop import applications, proxies
from tests.interop.applications import environ
from tests.interop.installed import GO, JAVA, PYTHON, RUST, WALLETS, first_line, python_version
from tests.interop.proxies import before, missing
from tests.interop.running import Processes, Program
from tests.interop.server import Server, by_command, handover, on_signal, with_gap
from tests.interop.site import Site

NO_ODD = "its SETTINGS cannot be set"
THREADED = "each call holds a thread of the application: slow calls would delay the others there, not on the connection"
FRONTS_OWN = "it is about the proxy alone, which has its own lines"
_APPLICATION = {"idle close": FRONTS_OWN, "odd SETTINGS": FRONTS_OWN, "expiring": THREADED}
_LISTENER = "a second process takes the listening socket over, the first one ends gracefully"


def _inheriting(*argv: str, ready: str = "") -> Callable[[Site], Sequence[Program]]:
    return lambda site: (Program(argv, environ(site), ready=ready, port=site.port, inherits=True),)


def _java(name: str, *, inherits: bool) -> Callable[[Site], Sequence[Program]]:
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


NGINX = Server(
    "nginx",
    before(proxies.NGINX_HTTP),
    missing(proxies.NGINX.missing, PYTHON.missing),
    proxies.NGINX.version,
    on_signal(signal.SIGHUP),
    "SIGHUP",
    odd_word="1 stream, a window of 1 byte for each body, answers in chunks of 1 byte",
    idle_setting="keepalive_timeout",
    quick=True,
)
HAPROXY = Server(
    "HAProxy",
    before(proxies.haproxy),
    missing(proxies.HAPROXY.missing, PYTHON.missing),
    proxies.HAPROXY.version,
    on_signal(signal.SIGUSR2),
    "SIGUSR2 to the master",
    odd_word="1 stream, window of 1 byte, the smallest header table it knows (4,096)",
    idle_setting="timeout http-keep-alive",
    quick=True,
)
CADDY = Server(
    "Caddy",
    before(proxies.CADDY_HTTP),
    missing(proxies.CADDY.missing, PYTHON.missing),
    proxies.CADDY.version,
    by_command(proxies.CADDY_RELOAD),
    "caddy reload --force",
    {"odd SETTINGS": NO_ODD},
    idle_setting="timeouts.idle",
)
APACHE = Server(
    "Apache httpd",
    before(proxies.apache),
    missing(proxies.APACHE.missing, PYTHON.missing),
    proxies.APACHE.version,
    on_signal(signal.SIGUSR1),
    "SIGUSR1 (graceful)",
    odd_word="1 stream, the smallest window it knows (1,024)",
    idle_setting="KeepAliveTimeout",
)
LIGHTTPD = Server(
    "lighttpd",
    before(proxies.lighttpd),
    missing(proxies.LIGHTTPD.missing, PYTHON.missing),
    proxies.LIGHTTPD.version,
    on_signal(signal.SIGUSR1),
    "SIGUSR1 (graceful restart)",
    {"odd SETTINGS": NO_ODD},
    idle_setting="server.max-keep-alive-idle",
    quick=True,
)
H2O = Server(
    "H2O",
    before(proxies.h2o),
    missing(proxies.H2O.missing, PYTHON.missing),
    proxies.H2O.version,
    on_signal(signal.SIGHUP),
    "SIGHUP to the master",
    odd_word="1 request at a time",
    idle_setting="http2-idle-timeout",
)
ENVOY = Server(
    "Envoy",
    before(proxies.envoy),
    missing(PYTHON.missing),
    proxies.envoy_version,
    _envoy_restart,
    "hot restart",
    odd_word="1 stream, header table of 0, the smallest window it knows (65,535)",
    idle_setting="idle_timeout",
    quick=True,
)
NGHTTPX = Server(
    "nghttpx",
    before(proxies.nghttpx),
    missing(proxies.NGHTTPX.missing, PYTHON.missing),
    proxies.NGHTTPX.version,
    on_signal(signal.SIGHUP),
    "SIGHUP",
    odd_word="1 stream, header table of 0, window of 1 byte",
    idle_setting="frontend-http2-read-timeout",
)
VARNISH = Server(
    "Varnish",
    lambda site: (applications.ASGI.program(site), *proxies.varnish(site)),
    missing(proxies.VARNISH.missing, proxies.HITCH.missing, PYTHON.missing),
    lambda: f"{proxies.VARNISH.version()}, TLS by hitch {proxies.HITCH.version()}",
    _varnish_reload,
    "vcl.load and vcl.use",
    odd_word="1 stream, header table of 0",
    idle_setting="timeout_idle",
)
GO_HTTP = Server(
    "Go net/http",
    _inheriting(str(GO.target / "wallet"), ready="ready"),
    GO.missing,
    lambda: first_line("go", "version", pattern=r"go(\d\S+)"),
    handover,
    _LISTENER,
    odd_word="1 stream, header table of 1, window of 1 byte",
    idle_setting="IdleTimeout",
    quick=True,
)
NODE = Server(
    "Node.js http2",
    _inheriting("node", str(WALLETS / "node" / "wallet.mjs"), ready="ready"),
    lambda: "" if shutil.which("node") else "node is not installed; on Debian: apt-get install nodejs",
    lambda: first_line("node", "--version", pattern=r"v(\S+)"),
    handover,
    _LISTENER,
    odd_word="1 stream, header table of 0, window of 1 byte",
    idle_setting="session.setTimeout",
    quick=True,
)
JETTY = Server(
    "Jetty",
    _java("jetty", inherits=True),
    JAVA.missing,
    _pinned("jetty"),
    handover,
    _LISTENER,
    odd_word="1 stream, header table of 0, window of 1 byte",
    idle_setting="idleTimeout",
    quick=True,
)
TOMCAT = Server(
    "Tomcat",
    _java("tomcat", inherits=True),
    JAVA.missing,
    _pinned("tomcat"),
    handover,
    _LISTENER,
    odd_word="1 stream, window of 256 bytes (bodies in smaller pieces it takes for an attack)",
    idle_setting="keepAliveTimeout",
)
UNDERTOW = Server(
    "Undertow",
    _java("undertow", inherits=False),
    JAVA.missing,
    _pinned("undertow"),
    with_gap,
    "graceful end, then a new start: no process listens in between",
    odd_word="1 stream, header table of 0, window of 64 bytes (one of 1 byte it never opens again)",
    idle_setting="NO_REQUEST_TIMEOUT",
)
HYPERCORN = Server(
    "hypercorn",
    _hypercorn,
    PYTHON.missing,
    lambda: python_version("hypercorn"),
    handover,
    _LISTENER,
    odd_word="1 stream",
    idle_setting="keep_alive_timeout",
)
GRANIAN = Server(
    "granian",
    _granian,
    PYTHON.missing,
    lambda: python_version("granian"),
    on_signal(signal.SIGHUP),
    "SIGHUP",
    {"idle close": "it closes no idle connection"},
    odd_word="10 streams (the fewest it knows), window of 1,024 bytes",
)
AXUM = Server(
    "hyper (axum)",
    _inheriting(str(RUST.target / "release" / "wallet"), ready="ready"),
    RUST.missing,
    _crates,
    handover,
    _LISTENER,
    {"idle close": "it closes no idle connection"},
    odd_word="1 stream, window of 1 byte",
)


def _behind(
    front: Server,
    programs: Callable[[Site], Sequence[Program]],
    application: applications.Application,
    *,
    quick: bool = False,
) -> Server:
    return Server(
        f"{application.name}, {front.name}",
        programs,
        missing(front.missing, application.missing),
        lambda: f"{application.version()}; {front.name} {front.version()}",
        front.reload,
        front.reload_word,
        _APPLICATION,
        quick=quick,
    )


STACKS = (
    _behind(HAPROXY, before(proxies.haproxy, applications.DJANGO_GUNICORN), applications.DJANGO_GUNICORN, quick=True),
    _behind(CADDY, before(proxies.CADDY_HTTP, applications.DJANGO_GUNICORN), applications.DJANGO_GUNICORN),
    _behind(HAPROXY, before(proxies.haproxy, applications.DJANGO_UWSGI), applications.DJANGO_UWSGI),
    _behind(CADDY, before(proxies.CADDY_HTTP, applications.DJANGO_UWSGI), applications.DJANGO_UWSGI),
    _behind(NGINX, before(proxies.NGINX_UWSGI, applications.DJANGO_UWSGI_PROTOCOL), applications.DJANGO_UWSGI_PROTOCOL),
    _behind(CADDY, before(proxies.CADDY_PHP, applications.PHP_FPM), applications.PHP_FPM),
    _behind(NGINX, before(proxies.NGINX_PHP, applications.PHP_FPM), applications.PHP_FPM),
    _behind(HAPROXY, before(proxies.haproxy, applications.FLASK), applications.FLASK),
    _behind(CADDY, before(proxies.CADDY_HTTP, applications.FLASK), applications.FLASK),
)
SERVERS = (
    *(NGINX, HAPROXY, CADDY, APACHE, LIGHTTPD, H2O, ENVOY, NGHTTPX, VARNISH, GO_HTTP, NODE, JETTY, TOMCAT, UNDERTOW),
    *(HYPERCORN, GRANIAN, AXUM, *STACKS),
)
