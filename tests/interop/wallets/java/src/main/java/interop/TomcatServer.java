package interop;

import jakarta.servlet.AsyncContext;
import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.apache.catalina.Context;
import org.apache.catalina.Wrapper;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;
import org.apache.coyote.http2.Http2Protocol;
import org.apache.tomcat.util.net.SSLHostConfig;
import org.apache.tomcat.util.net.SSLHostConfigCertificate;

/** Tomcat, embedded; it takes the listening socket over from the suite as its standard input. */
final class TomcatServer {
    private TomcatServer() {}

    static void run(Options options, Wallet wallet) throws Exception {
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(Files.createTempDirectory("tomcat").toString());
        tomcat.setConnector(connector(options));
        Context context = tomcat.addContext("", null);
        Wrapper wrapper = Tomcat.addServlet(context, "wallet", new WalletServlet(wallet));
        wrapper.setAsyncSupported(true);
        context.addServletMappingDecoded(Wallet.PATH, "wallet");
        // What its own service unit does at SIGTERM: no new connections, GOAWAY, a while for what is open, then the end.
        Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(tomcat)));
        tomcat.start();
        System.out.println("ready");
        tomcat.getServer().await();
    }

    private static void stop(Tomcat tomcat) {
        try {
            tomcat.getConnector().pause();
            tomcat.stop();
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }

    private static Connector connector(Options options) {
        Connector connector = new Connector();
        connector.setPort(options.port());
        connector.setProperty("address", "127.0.0.1");
        connector.setProperty("useInheritedChannel", "true");
        Http2Protocol protocol = new Http2Protocol();
        if (options.idleMs() > 0) {
            protocol.setKeepAliveTimeout(options.idleMs());
        }
        if (options.odd()) {
            // Small pieces of a body count as overhead, which ends the connection: no window smaller than a body.
            protocol.setMaxConcurrentStreams(1);
            protocol.setInitialWindowSize(256);
        }
        connector.addUpgradeProtocol(protocol);
        if (options.tls()) {
            connector.setSecure(true);
            connector.setScheme("https");
            connector.setProperty("SSLEnabled", "true");
            SSLHostConfig host = new SSLHostConfig();
            SSLHostConfigCertificate certificate =
                    new SSLHostConfigCertificate(host, SSLHostConfigCertificate.Type.UNDEFINED);
            certificate.setCertificateFile(options.certificate());
            certificate.setCertificateKeyFile(options.key());
            host.addCertificate(certificate);
            connector.addSslHostConfig(host);
        }
        return connector;
    }

    /** Reads the whole request, answers without holding a thread while it waits. */
    private static final class WalletServlet extends HttpServlet {
        private static final long serialVersionUID = 1L;
        private final transient ScheduledExecutorService scheduler = Executors.newScheduledThreadPool(2);
        private final transient Wallet wallet;

        WalletServlet(Wallet wallet) {
            this.wallet = wallet;
        }

        @Override
        protected void doPost(HttpServletRequest request, HttpServletResponse response) throws ServletException, IOException {
            Wallet.Answer answer = wallet.answer(request::getHeader, request.getInputStream().readAllBytes());
            if (answer.afterMs() == 0) {
                send(response, answer);
                return;
            }
            AsyncContext waiting = request.startAsync();
            waiting.setTimeout(60_000);
            scheduler.schedule(() -> {
                send((HttpServletResponse) waiting.getResponse(), answer);
                waiting.complete();
            }, answer.afterMs(), TimeUnit.MILLISECONDS);
        }

        private static void send(HttpServletResponse response, Wallet.Answer answer) {
            try {
                response.setStatus(answer.status());
                response.setContentType("application/json");
                response.setContentLength(answer.body().length);
                response.getOutputStream().write(answer.body());
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }
}
