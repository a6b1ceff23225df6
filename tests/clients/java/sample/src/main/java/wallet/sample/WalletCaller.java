package wallet.sample;

import com.google.gson.Gson;
import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RequestInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.MetadataUtils;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import wallet.v1.Outcome;
import wallet.v1.Settlement;
import wallet.v1.TerminateRequest;
import wallet.v1.TerminateResponse;
import wallet.v1.WalletError;
import wallet.v1.WalletServiceGrpc;

/** How a game service in Java calls Terminate: one channel, a deadline, and a decision by the outcome. */
final class WalletCaller implements AutoCloseable {
  private static final Metadata.Key<String> REQUEST_ID = key("x-request-id");
  private static final Metadata.Key<String> CALL_ID = key("wallet-call-id");

  private final ManagedChannel channel;

  /** Opens one channel, to be kept and shared by the whole service. In production: TlsChannelCredentials. */
  @SuppressWarnings("unchecked")
  WalletCaller(String address, String serviceConfig, Duration keepalive) {
    channel =
        Grpc.newChannelBuilder("dns:///" + address, InsecureChannelCredentials.create())
            .defaultServiceConfig(new Gson().fromJson(serviceConfig, Map.class))
            // A connection that has died without a word is found by its pings, with calls in flight or without. The
            // library takes at least 10 s.
            .keepAliveTime(keepalive.toMillis(), TimeUnit.MILLISECONDS)
            .keepAliveWithoutCalls(true)
            .build();
  }

  /** What the game service does after a call. */
  enum Next {
    /** The wallet has confirmed that the token is deactivated. */
    DONE,
    /** Nothing happened: the same call again, later. */
    REPEAT,
    /** Nothing happened, and nothing will before the cause is fixed. */
    MEND,
    /** The bridge retries the call by itself until it is certain: ask SettlementService later. */
    WAIT,
    /** The token may be alive or dead: find out, or retry Terminate deliberately. */
    CHECK
  }

  /** A call that the wallet has confirmed. */
  static final class Answer {
    final TerminateResponse response;

    /** By which the bridge's operator finds the call: log it. */
    final String callId;

    private Answer(TerminateResponse response, String callId) {
      this.response = response;
      this.callId = callId;
    }
  }

  /** Everything that a failed call reports. What the bridge did not send is empty. */
  static final class Failure extends Exception {
    final Status.Code code;

    /** As in Answer; "" where a library or a proxy ended the call, not the bridge. */
    final String callId;

    final Optional<WalletError> wallet;
    final Optional<ErrorInfo> info;
    final Optional<RequestInfo> request;
    final Optional<RetryInfo> retry;

    private Failure(StatusRuntimeException error) {
      super(error);
      code = error.getStatus().getCode();
      callId = callIdIn(error.getTrailers());
      // Empty of details where there is no grpc-status-details-bin.
      com.google.rpc.Status status = StatusProto.fromThrowable(error);
      wallet = detail(status, WalletError.class);
      info = detail(status, ErrorInfo.class);
      request = detail(status, RequestInfo.class);
      retry = detail(status, RetryInfo.class);
    }

    /** Decides by the outcome first. A failure without details comes from a library or a proxy: nothing is certain. */
    Next next() {
      if (wallet.map(WalletError::getSettlement).orElse(null) == Settlement.SETTLEMENT_PENDING) {
        return Next.WAIT;
      }
      switch (wallet.map(WalletError::getOutcome).orElse(Outcome.OUTCOME_UNKNOWN)) {
        case OUTCOME_NOT_PROCESSED:
          return Next.REPEAT;
        case OUTCOME_NOT_SENT:
        case OUTCOME_REJECTED:
          // retry says how long to wait.
          return code == Status.Code.UNAVAILABLE || retry.isPresent() ? Next.REPEAT : Next.MEND;
        default:
          return Next.CHECK;
      }
    }

    private static <T extends Message> Optional<T> detail(com.google.rpc.Status status, Class<T> kind) {
      for (Any packed : status.getDetailsList()) {
        if (packed.is(kind)) {
          try {
            return Optional.of(packed.unpack(kind));
          } catch (InvalidProtocolBufferException error) {
            return Optional.empty();
          }
        }
      }
      return Optional.empty();
    }
  }

  /**
   * Ends a session. Ids are long with the bits of a uint64: Long.parseUnsignedLong, Long.toUnsignedString. `requestId` is
   * your own id of the call, for logs; where it is empty the bridge makes one.
   */
  Answer terminate(TerminateRequest request, Duration deadline, String requestId) throws Failure {
    Metadata headers = new Metadata();
    if (!requestId.isEmpty()) {
      headers.put(REQUEST_ID, requestId);
    }
    AtomicReference<Metadata> trailers = new AtomicReference<>();
    try {
      TerminateResponse response =
          WalletServiceGrpc.newBlockingStub(channel)
              .withDeadlineAfter(deadline.toMillis(), TimeUnit.MILLISECONDS)
              .withInterceptors(
                  MetadataUtils.newAttachHeadersInterceptor(headers),
                  MetadataUtils.newCaptureMetadataInterceptor(new AtomicReference<>(), trailers))
              .terminate(request);
      return new Answer(response, callIdIn(trailers.get()));
    } catch (StatusRuntimeException error) {
      throw new Failure(error);
    }
  }

  /** The id with which the bridge ends every call. */
  private static String callIdIn(Metadata trailers) {
    return Optional.ofNullable(trailers).map(all -> all.get(CALL_ID)).orElse("");
  }

  private static Metadata.Key<String> key(String name) {
    return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
  }

  @Override
  public void close() {
    channel.shutdownNow();
  }
}
