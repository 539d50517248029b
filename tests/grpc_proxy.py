"""A gRPC proxy in front of an emulator: throttles, and loses answers."""

import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, override

import grpc

THREADS = 64


class GrpcProxy(grpc.GenericRpcHandler):
    """Passes every call on, byte for byte, but those that it is told to refuse or to lose."""

    def __init__(self, target: str) -> None:
        self._lock = threading.Lock()
        self._refusals = 0
        self._refuses_all = False
        self._losses = 0
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._channel = grpc.insecure_channel(target, unlimited)
        self._server = grpc.server(ThreadPoolExecutor(THREADS), [self], options=unlimited)
        self._port = self._server.add_insecure_port("127.0.0.1:0")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    @contextmanager
    def throttling(self, times: int | None) -> Generator[None]:
        """The next `times` calls are refused, None: all of them, until the block ends."""
        with self._lock:
            self._refusals, self._refuses_all = times or 0, times is None
        try:
            yield
        finally:
            with self._lock:
                self._refusals, self._refuses_all = 0, False

    def lose_answers(self, times: int) -> None:
        """The next `times` commits reach the server, whose answer is thrown away."""
        with self._lock:
            self._losses = times

    def __enter__(self) -> "GrpcProxy":
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()
        self._channel.close()

    @override
    def service(self, handler_call_details: Any) -> Any:
        method = handler_call_details.method
        forwarded = self._channel.stream_stream(method)

        def call(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            if self._is_refused():
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Slow down.")
            metadata = tuple(pair for pair in context.invocation_metadata() if not pair[0].startswith("grpc-"))
            try:
                answers = list(forwarded(requests, metadata=metadata, timeout=context.time_remaining()))
            except grpc.RpcError as error:
                status: Any = error
                context.abort(status.code(), status.details())
            if method.endswith("/Commit") and self._is_lost():
                context.abort(grpc.StatusCode.UNAVAILABLE, "The answer was lost.")
            yield from answers

        return grpc.stream_stream_rpc_method_handler(call)

    def _is_refused(self) -> bool:
        with self._lock:
            self._refusals -= 1
            return self._refuses_all or self._refusals >= 0

    def _is_lost(self) -> bool:
        with self._lock:
            self._losses -= 1
            return self._losses >= 0
