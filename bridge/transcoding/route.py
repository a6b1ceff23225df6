"""One operation with the steps of its calls, compiled when the bridge starts."""

import operator
from collections.abc import Callable, Mapping
from functools import partial

from google.protobuf.message import Message

from bridge.events import CallStarted
from bridge.transcoding.codec import codec_of
from bridge.transcoding.operation import Operation
from bridge.transcoding.validation import parse, validator_of
from bridge.transcoding.verdict import Classifier, CodeRule


class Route:
    """One operation with its steps, compiled."""

    def __init__(self, operation: Operation, codes: Mapping[int, CodeRule]) -> None:
        codec = codec_of(operation.request)
        self.operation = operation
        # Made once: nothing in it is a call's own.
        self.started = CallStarted(operation.service, operation.method)
        self.parse = partial(parse, codec.message_type)
        self.validate = validator_of(operation.request).validate
        self.encode = codec.encode
        self.classify = Classifier(operation, codes).classify
        self.secret_of: Callable[[Message], str] = _attribute(operation.secret) if operation.secret else lambda _: ""


def _attribute(name: str) -> Callable[[Message], str]:
    return operator.attrgetter(name)
