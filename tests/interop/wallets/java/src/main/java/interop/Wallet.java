package interop;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.GeneralSecurityException;
import java.util.Base64;
import java.util.HexFormat;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** The wallet's decisions, the same on every server. See README.md of tests/interop for what every wallet does. */
final class Wallet {
    static final String PATH = "/api/wallet/terminate";
    private static final Pattern TOKEN = Pattern.compile("\"token\":\"([^\"]*)\"");

    private final Path ledger = Path.of(variable("INTEROP_LEDGER"));
    private final String authorization = variable("INTEROP_AUTHORIZATION");
    private final byte[] privateKey = variable("INTEROP_PRIVATE_KEY").getBytes(StandardCharsets.UTF_8);
    private final long slowMs = Math.round(1000 * Double.parseDouble(variable("INTEROP_SLOW_S")));

    /** An answer, and how many milliseconds to wait before it is sent. */
    record Answer(int status, byte[] body, long afterMs) {}

    static String variable(String name) {
        String value = System.getenv(name);
        if (value == null) {
            throw new IllegalStateException(name + " is not set");
        }
        return value;
    }

    /** Records a request and decides on its answer; {@code header} returns null for a header that is not there. */
    Answer answer(UnaryOperator<String> header, byte[] body) {
        String text = new String(body, StandardCharsets.UTF_8);
        Matcher matcher = TOKEN.matcher(text);
        String token = matcher.find() ? matcher.group(1) : "none";
        String fault = fault(header, body);
        record(token + " " + fault + " " + Base64.getEncoder().encodeToString(body) + "\n");
        if (!fault.equals("-")) {
            return new Answer(401, utf8("{\"code\":3,\"status\":false,\"message\":\"refused\"}"), 0);
        }
        String success = "{\"code\":1,\"status\":true,\"message\":\"\",\"request_id\":\"r\",\"balance\":1.50,";
        return new Answer(200, utf8(success + text.substring(1)), token.contains("slow") ? slowMs : 0);
    }

    private String fault(UnaryOperator<String> header, byte[] body) {
        if (!String.valueOf(body.length).equals(header.apply("content-length"))) {
            return "content-length";
        }
        if (!authorization.equals(header.apply("authorization"))) {
            return "authorization";
        }
        return signature(body).equals(header.apply("x-request-signature")) ? "-" : "signature";
    }

    private String signature(byte[] body) {
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(privateKey, "HmacSHA256"));
            return HexFormat.of().formatHex(mac.doFinal(body));
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }

    private synchronized void record(String line) {
        try {
            Files.writeString(ledger, line, StandardOpenOption.APPEND);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
