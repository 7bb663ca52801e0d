"""Messages to Protobuf's binary form and back.

The message library has this too. This one is many times as fast, tells which field holds a wrong
value, refuses data that ends too early, and follows the rules for what comes twice: a message is
merged, and of a oneof the last member counts.
"""

from __future__ import annotations

from typing import TypeVar

import betterproto2

from aiauto.connect.binary_reader import read_message
from aiauto.connect.binary_writer import writer_of
from aiauto.connect.message_fields import new_message

__all__ = ["dump", "load"]

MessageT = TypeVar("MessageT", bound=betterproto2.Message)


def dump(message: betterproto2.Message) -> bytes:
    """Writes a message.

    Raises:
        ValueError: A field holds a value of a wrong type or out of its range.
    """
    out = bytearray()
    writer_of(type(message))(out, message)
    return bytes(out)


def load(message_type: type[MessageT], data: bytes) -> MessageT:
    """Reads a message. The data of fields that its class does not have is kept and written again.

    Raises:
        ValueError: The data is broken, or is something else.
    """
    message = new_message(message_type)
    try:
        read_message(message, data, 0, len(data))
    except IndexError:
        raise ValueError("it ends in the middle of a field") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"a text in it is not UTF-8: {error.reason}") from error
    except OverflowError as error:
        raise ValueError(f"it has a time that Python has not: {error}") from error
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return message
