package wallet.sample;

import com.google.gson.Gson;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RequestInfo;
import com.google.rpc.RetryInfo;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import wallet.v1.TerminateRequest;
import wallet.v1.TerminateResponse;
import wallet.v1.WalletError;

/** Runs the cases of cases.json and prints what each ends with, as the samples in all languages do. */
public final class Main {
  // Not System.out: its encoding is the machine's, and its line separator too.
  private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

  /** One case, as it stands in the file. */
  private static final class Case {
    String name;
    String bridge;
    String config;
    String token;
    String playerId;
    String siteId;
    String providerId;
    String gameId;
    String currency;
    String requestId;
    long deadlineMs;
    long keepaliveMs;
    boolean warm;
    long idleMs;
    int calls;
  }

  /** Usage: Main FOLDER, where run.py has written cases.json, bridges.json and the service configs. */
  public static void main(String[] arguments) throws IOException, InterruptedException {
    Path folder = Path.of(arguments[0]);
    Map<?, ?> bridges = new Gson().fromJson(Files.readString(folder.resolve("bridges.json")), Map.class);
    for (Case one : new Gson().fromJson(Files.readString(folder.resolve("cases.json")), Case[].class)) {
      run(one, (String) bridges.get(one.bridge), Files.readString(folder.resolve(one.config + ".json")));
    }
  }

  /** Makes a case's calls, one after the other on a channel of its own, and prints how they end. */
  private static void run(Case one, String address, String config) throws InterruptedException {
    TerminateRequest request =
        TerminateRequest.newBuilder()
            .setToken(one.token)
            .setPlayerId(Long.parseUnsignedLong(one.playerId))
            .setSiteId(Long.parseUnsignedLong(one.siteId))
            .setProviderId(Long.parseUnsignedLong(one.providerId))
            .setGameId(one.gameId)
            .setCurrency(one.currency)
            .build();
    Map<String, Integer> ends = new LinkedHashMap<>();
    try (WalletCaller caller = new WalletCaller(address, config, Duration.ofMillis(one.keepaliveMs))) {
      if (one.warm) { // connects and loads everything, so that the case's own calls are timed alone
        endText(one, caller, request.toBuilder().setToken("warm").build(), Duration.ofSeconds(20));
      }
      Thread.sleep(one.idleMs);
      for (int made = 0; made < one.calls; made++) {
        ends.merge(endText(one, caller, request, Duration.ofMillis(one.deadlineMs)), 1, Integer::sum);
      }
    }
    OUT.printf("# %s\n", one.name);
    ends.forEach((text, count) -> OUT.print((one.calls > 1 ? count + " x " : "") + text + "\n"));
  }

  private static String endText(Case one, WalletCaller caller, TerminateRequest request, Duration deadline) {
    try {
      return successText(caller.terminate(request, deadline, one.requestId), one);
    } catch (WalletCaller.Failure failure) {
      return failureText(failure, one);
    }
  }

  private static String successText(WalletCaller.Answer answer, Case one) {
    TerminateResponse response = answer.response;
    return String.format(
        "OK code=%s token=%s player_id=%s site_id=%s provider_id=%s game_id=%s balance=%s"
            + " call_id=%s\n-> %s",
        Long.toUnsignedString(response.getCode()),
        response.getToken(),
        Long.toUnsignedString(response.getPlayerId()),
        Long.toUnsignedString(response.getSiteId()),
        Long.toUnsignedString(response.getProviderId()),
        response.getGameId(),
        response.hasBalance() ? response.getBalance().getValue() : "-",
        callId(answer.callId, one),
        WalletCaller.Next.DONE);
  }

  private static String failureText(WalletCaller.Failure failure, Case one) {
    WalletError wallet = failure.wallet.orElse(WalletError.getDefaultInstance());
    ErrorInfo info = failure.info.orElse(ErrorInfo.getDefaultInstance());
    return String.format(
        "%s %s outcome=%s code=%s http_status=%d attempts=%d\n"
            + "   domain=%s cause=%s retry_after_ms=%s request_id=%s call_id=%s\n-> %s",
        failure.code,
        wallet.getReason(),
        wallet.getOutcome(),
        wallet.hasCode() ? Long.toUnsignedString(wallet.getCode()) : "-",
        wallet.getHttpStatus(),
        wallet.getAttempts(),
        text(info.getDomain()),
        text(info.getMetadataOrDefault("cause", "")),
        failure.retry.map(Main::millis).orElse("-"),
        requestId(failure, wallet),
        callId(failure, wallet, info, one),
        failure.next());
  }

  private static String millis(RetryInfo retry) {
    Duration delay = Duration.ofSeconds(retry.getRetryDelay().getSeconds(), retry.getRetryDelay().getNanos());
    return String.valueOf(delay.toMillis());
  }

  /** Whose id RequestInfo carries: the wallet's, else the call's. The values are others in every run. */
  private static String requestId(WalletCaller.Failure failure, WalletError wallet) {
    String reported = failure.request.map(RequestInfo::getRequestId).orElse("");
    boolean isWallets = !wallet.getRequestId().isEmpty();
    if (!reported.equals(isWallets ? wallet.getRequestId() : wallet.getCallId())) {
      return "differs";
    }
    if (reported.isEmpty()) {
      return "-";
    }
    return isWallets ? "given" : "call_id";
  }

  /** Whose id the call has, the same in the trailer and in both details that carry it. */
  private static String callId(WalletCaller.Failure failure, WalletError wallet, ErrorInfo info, Case one) {
    String reported = failure.callId;
    boolean isTheSame = reported.equals(wallet.getCallId()) && reported.equals(info.getMetadataOrDefault("call_id", ""));
    return isTheSame ? callId(reported, one) : "differs";
  }

  /** Whose id it is: sent with the case, made by the bridge, or none. */
  private static String callId(String reported, Case one) {
    if (reported.isEmpty()) {
      return "-";
    }
    return reported.equals(one.requestId) ? "sent" : "made";
  }

  private static String text(String value) {
    return value.isEmpty() ? "-" : value;
  }
}
