package interop;

import java.nio.ByteBuffer;
import java.util.concurrent.TimeUnit;
import org.eclipse.jetty.alpn.server.ALPNServerConnectionFactory;
import org.eclipse.jetty.http2.server.AbstractHTTP2ServerConnectionFactory;
import org.eclipse.jetty.http2.server.HTTP2CServerConnectionFactory;
import org.eclipse.jetty.http2.server.HTTP2ServerConnectionFactory;
import org.eclipse.jetty.io.Content;
import org.eclipse.jetty.server.Handler;
import org.eclipse.jetty.server.HttpConfiguration;
import org.eclipse.jetty.server.HttpConnectionFactory;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.server.SecureRequestCustomizer;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.server.handler.GracefulHandler;
import org.eclipse.jetty.util.Callback;
import org.eclipse.jetty.util.ssl.SslContextFactory;

/** Jetty's own handlers; it takes the listening socket over from the suite as its standard input. */
final class JettyServer {
    private JettyServer() {}

    static void run(Options options, Wallet wallet) throws Exception {
        Server server = new Server();
        server.setStopTimeout(15_000);
        server.setStopAtShutdown(true);
        server.addConnector(connector(server, options));
        server.setHandler(new GracefulHandler(new WalletHandler(wallet)));
        server.start();
        System.out.println("ready");
        server.join();
    }

    private static ServerConnector connector(Server server, Options options) throws Exception {
        HttpConfiguration configuration = new HttpConfiguration();
        ServerConnector connector;
        if (options.tls()) {
            configuration.addCustomizer(new SecureRequestCustomizer(false));
            SslContextFactory.Server tls = new SslContextFactory.Server();
            tls.setKeyStore(options.keyStore());
            tls.setKeyStorePassword(Options.PASSWORD);
            connector = new ServerConnector(
                    server, tls, new ALPNServerConnectionFactory("h2"), odd(new HTTP2ServerConnectionFactory(configuration), options));
        } else {
            connector = new ServerConnector(
                    server,
                    new HttpConnectionFactory(configuration),
                    odd(new HTTP2CServerConnectionFactory(configuration), options));
        }
        connector.setInheritChannel(true);
        if (options.idleMs() > 0) {
            connector.setIdleTimeout(options.idleMs());
        }
        return connector;
    }

    private static AbstractHTTP2ServerConnectionFactory odd(AbstractHTTP2ServerConnectionFactory factory, Options options) {
        if (options.odd()) {
            factory.setMaxConcurrentStreams(1);
            factory.setInitialStreamRecvWindow(1);
            factory.setMaxDecoderTableCapacity(0);
        }
        return factory;
    }

    /** Reads the whole request, answers without holding a thread while it waits. */
    private static final class WalletHandler extends Handler.Abstract.NonBlocking {
        private final Wallet wallet;

        WalletHandler(Wallet wallet) {
            this.wallet = wallet;
        }

        @Override
        public boolean handle(Request request, Response response, Callback callback) {
            if (!Request.getPathInContext(request).equals(Wallet.PATH)) {
                Response.writeError(request, response, callback, 404);
                return true;
            }
            Content.Source.asByteArrayAsync(request, -1).whenComplete((body, failure) -> {
                if (failure != null) {
                    callback.failed(failure);
                    return;
                }
                Wallet.Answer answer = wallet.answer(request.getHeaders()::get, body);
                Runnable send = () -> {
                    response.setStatus(answer.status());
                    response.getHeaders().put("content-type", "application/json");
                    response.write(true, ByteBuffer.wrap(answer.body()), callback);
                };
                request.getComponents().getScheduler().schedule(send, answer.afterMs(), TimeUnit.MILLISECONDS);
            });
            return true;
        }
    }
}
