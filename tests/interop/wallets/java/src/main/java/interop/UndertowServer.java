package interop;

import io.undertow.Handlers;
import io.undertow.Undertow;
import io.undertow.UndertowOptions;
import io.undertow.server.HttpHandler;
import io.undertow.server.HttpServerExchange;
import io.undertow.server.handlers.GracefulShutdownHandler;
import io.undertow.util.Headers;
import java.nio.ByteBuffer;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;

/** Undertow, which can only listen by itself: a restart leaves a gap. */
final class UndertowServer {
    private UndertowServer() {}

    static void run(Options options, Wallet wallet) throws Exception {
        HttpHandler handler = Handlers.path().addExactPath(Wallet.PATH, exchange -> handle(wallet, exchange));
        GracefulShutdownHandler graceful = Handlers.gracefulShutdown(handler);
        Undertow.Builder builder = Undertow.builder()
                .setServerOption(UndertowOptions.ENABLE_HTTP2, true)
                .setHandler(graceful);
        if (options.idleMs() > 0) {
            builder.setServerOption(UndertowOptions.NO_REQUEST_TIMEOUT, options.idleMs());
        }
        if (options.odd()) {
            // A window of 1 byte it never opens again: no client could send it a body.
            builder.setServerOption(UndertowOptions.HTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1)
                    .setServerOption(UndertowOptions.HTTP2_SETTINGS_HEADER_TABLE_SIZE, 0)
                    .setServerOption(UndertowOptions.HTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 64);
        }
        if (options.tls()) {
            builder.addHttpsListener(options.port(), "127.0.0.1", context(options));
        } else {
            builder.addHttpListener(options.port(), "127.0.0.1");
        }
        Undertow server = builder.build();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(server, graceful)));
        server.start();
        System.out.println("ready");
    }

    private static void stop(Undertow server, GracefulShutdownHandler graceful) {
        try {
            graceful.shutdown();
            graceful.awaitShutdown(15_000);
            server.stop();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private static SSLContext context(Options options) throws Exception {
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(options.keyStore(), Options.PASSWORD.toCharArray());
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), null, null);
        return context;
    }

    private static void handle(Wallet wallet, HttpServerExchange exchange) {
        exchange.getRequestReceiver().receiveFullBytes((received, body) -> {
            Wallet.Answer answer = wallet.answer(received.getRequestHeaders()::getFirst, body);
            Runnable send = () -> {
                received.setStatusCode(answer.status());
                received.getResponseHeaders().put(Headers.CONTENT_TYPE, "application/json");
                received.getResponseSender().send(ByteBuffer.wrap(answer.body()));
            };
            if (answer.afterMs() == 0) {
                send.run();
            } else {
                received.dispatch(() -> received.getIoThread().executeAfter(send, answer.afterMs(), TimeUnit.MILLISECONDS));
            }
        });
    }
}
