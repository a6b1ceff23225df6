package interop;

import java.security.KeyStore;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;

/** What the suite asks of a server, from the environment. */
record Options(int port, String certificate, String key, String keystore, int idleMs, boolean odd) {
    static final String PASSWORD = "interop";

    static Options read() {
        return new Options(
                Integer.parseInt(Wallet.variable("INTEROP_PORT")),
                System.getenv("INTEROP_CERTIFICATE"),
                System.getenv("INTEROP_KEY"),
                System.getenv("INTEROP_KEYSTORE"),
                (int) Math.round(1000 * Double.parseDouble(Wallet.variable("INTEROP_IDLE_S"))),
                System.getenv("INTEROP_ODD") != null);
    }

    boolean tls() {
        return certificate != null;
    }

    KeyStore keyStore() throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (InputStream stream = Files.newInputStream(Path.of(keystore))) {
            store.load(stream, PASSWORD.toCharArray());
        }
        return store;
    }
}
