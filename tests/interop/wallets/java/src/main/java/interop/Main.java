package interop;

/** Runs the wallet on the server that the argument names, until SIGTERM. */
public final class Main {
    private Main() {}

    public static void main(String[] arguments) throws Exception {
        switch (arguments[0]) {
            case "jetty" -> JettyServer.run(Options.read(), new Wallet());
            case "tomcat" -> TomcatServer.run(Options.read(), new Wallet());
            case "undertow" -> UndertowServer.run(Options.read(), new Wallet());
            default -> throw new IllegalArgumentException(arguments[0]);
        }
    }
}
