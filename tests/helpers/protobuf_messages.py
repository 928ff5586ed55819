"""Messages of Protocol Buffers from a few lines, written by Google's library: no generated code is needed."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_KINDS = {
    "int32": descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "float": descriptor_pb2.FieldDescriptorProto.TYPE_FLOAT,
}


def message(name: str, fields: dict[str, tuple[int, str]]) -> Any:
    """Return the class of a message.

    fields : the number and the kind of each field by name; a kind that ends with "[]" is repeated
    """
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package="made", syntax="proto2")
    made = file.message_type.add(name=name)
    for field, (number, kind) in fields.items():
        label = 3 if kind.endswith("[]") else 1
        made.field.add(name=field, number=number, type=_KINDS[kind.removesuffix("[]")], label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"made.{name}"))
