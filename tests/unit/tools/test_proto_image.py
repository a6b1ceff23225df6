"""The guard of the protos: what breaks older stubs is found, what adds to them is not."""

from collections.abc import Callable

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodOptions

import proto_image

Change = Callable[[FileDescriptorProto], None]


def message(file: FileDescriptorProto, name: str) -> DescriptorProto:
    """Return one of a file's messages."""
    return next(one for one in file.message_type if one.name == name)


def rename_field(file: FileDescriptorProto) -> None:
    """Give a field another name: its JSON and the code change."""
    message(file, "TerminateRequest").field[1].name = "gamer_id"


def change_type(file: FileDescriptorProto) -> None:
    """Make a number a string."""
    field = message(file, "TerminateRequest").field[1]
    field.type = field.TYPE_STRING


def delete_field(file: FileDescriptorProto) -> None:
    """Take a field away."""
    del message(file, "TerminateResponse").field[0]


def delete_rpc(file: FileDescriptorProto) -> None:
    """Take an rpc away."""
    del file.service[0].method[0]


def forbid_retries(file: FileDescriptorProto) -> None:
    """No longer declare an rpc idempotent."""
    file.service[0].method[0].options.idempotency_level = MethodOptions.IDEMPOTENCY_UNKNOWN


def add_field(file: FileDescriptorProto) -> None:
    """Add a field with a number of its own."""
    message(file, "TerminateRequest").field.add(
        name="note", number=99, type="TYPE_STRING", label="LABEL_OPTIONAL", json_name="note"
    )


def add_rpc(file: FileDescriptorProto) -> None:
    """Add an rpc."""
    added = file.service[0].method.add()
    added.CopyFrom(file.service[0].method[0])
    added.name = "TerminateAgain"


def nothing(_file: FileDescriptorProto) -> None:
    """Change nothing."""


@pytest.mark.parametrize(
    ("change", "breaks"),
    [
        (rename_field, True),
        (change_type, True),
        (delete_field, True),
        (delete_rpc, True),
        (forbid_retries, True),
        (add_field, False),
        (add_rpc, False),
        (nothing, False),
    ],
)
def test_what_breaks_older_stubs(change: Change, breaks: bool) -> None:  # noqa: FBT001 - a case's expectation
    """A change of the protos is refused exactly if a caller with older stubs would notice it."""
    old = proto_image.current()
    new = FileDescriptorSet.FromString(old.SerializeToString())
    change(next(file for file in new.file if file.name == "wallet/v1/wallet_service.proto"))
    assert proto_image.breaks(new, proto_image.ours(old)) is breaks


def test_the_image_is_the_contract_of_now() -> None:
    """protos/landed.txtpb has everything that protos/ says, its options too, and reading it back loses nothing."""
    now = proto_image.ours(proto_image.current())
    assert proto_image.rendered(proto_image.landed()) == proto_image.rendered(now)
    assert 'post: "/api/wallet/terminate"' in proto_image.rendered(now)
    assert "[wallet.v1.echo]: true" in proto_image.rendered(now)
