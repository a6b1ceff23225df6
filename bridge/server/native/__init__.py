"""The engine "native": the interface of grpc.aio's server, on HTTP/2 in Rust (the extra `native`, pygrpc-native).

    server.py     the server: its port, its calls, its end
    call.py       one call: what its handler sees of it, and the one place where it ends
    fallback.py   methods that the front does not serve, in a grpcio server behind it

Built on pygrpc-native's low-level API, which its authors promise to keep. Its own copy of grpc.aio's server leaves a
call open for ever when a trailer is refused, keeps calls that were cancelled before they began, and cuts off answers
that are still on their way when it stops.
"""
