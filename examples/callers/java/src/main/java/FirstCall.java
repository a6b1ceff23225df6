import com.google.gson.Gson;
import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.io.InputStreamReader;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import wallet.v1.TerminateRequest;
import wallet.v1.TerminateResponse;
import wallet.v1.WalletError;
import wallet.v1.WalletServiceGrpc;

/**
 * The first call of a game service in Java: one that succeeds, one that fails, and what the failure says.
 *
 * <p>Usage: FirstCall ADDRESS [TOKEN...]
 */
public final class FirstCall {
  public static void main(String[] arguments) throws Exception {
    List<String> tokens = List.of(arguments).subList(1, arguments.length);
    ManagedChannel channel =
        Grpc.newChannelBuilder("dns:///" + arguments[0], InsecureChannelCredentials.create())
            .defaultServiceConfig(serviceConfig())
            .build();
    for (String token : tokens.isEmpty() ? List.of("first-call", "test-echo-player") : tokens) {
      System.out.println(terminate(channel, token));
    }
    channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
  }

  /** The service config that the package carries. */
  @SuppressWarnings("unchecked")
  private static Map<String, ?> serviceConfig() throws Exception {
    try (Reader config =
        new InputStreamReader(
            WalletError.class.getResourceAsStream("/wallet/v1/service_config.json"), StandardCharsets.UTF_8)) {
      return new Gson().fromJson(config, Map.class);
    }
  }

  /** Terminates the session of a token and says how that ended. */
  private static String terminate(ManagedChannel channel, String token) throws InvalidProtocolBufferException {
    TerminateRequest request =
        TerminateRequest.newBuilder()
            .setToken(token)
            .setPlayerId(1)
            .setSiteId(1)
            .setProviderId(1)
            .setGameId("example")
            .setCurrency("EUR")
            .build();
    try {
      TerminateResponse answer =
          WalletServiceGrpc.newBlockingStub(channel).withDeadlineAfter(20, TimeUnit.SECONDS).terminate(request);
      return "OK code=" + Long.toUnsignedString(answer.getCode()) + " balance=" + answer.getBalance().getValue();
    } catch (StatusRuntimeException error) {
      return failureText(error);
    }
  }

  /** Decides by the outcome, the first field of the first detail; without details nothing is certain. */
  private static String failureText(StatusRuntimeException error) throws InvalidProtocolBufferException {
    String code = error.getStatus().getCode().name();
    for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
      if (detail.is(WalletError.class)) {
        WalletError wallet = detail.unpack(WalletError.class);
        return code + " " + wallet.getOutcome() + " " + wallet.getReason() + " call_id=" + wallet.getCallId();
      }
    }
    return code + " without details: the token may be alive or dead";
  }
}
