"""Output that never fails, whatever characters the terminal can encode and however early its reader exits."""

import codecs
import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dmx.errors import UserError

PLAIN = {
    **dict.fromkeys("█▉▊▋▌▍▎▏▇▆▅▄▃▂▁", "#"),
    **dict.fromkeys("─━╌╴╶╸╺", "-"),
    **dict.fromkeys("│┃", "|"),
    **dict.fromkeys("•·", "*"),
    **{"…": "...", "–": "-", "—": "-", "×": "x", "→": "->", "≥": ">=", "≤": "<=", "±": "+-"},
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("“”", '"'),
}
"""Replacements for characters that a terminal cannot encode; all others become a question mark."""


def plain(error: UnicodeError) -> tuple[str, int]:
    """Encoding error handler `dmx.plain`: replace characters by similar ones, and escape undecodable bytes of paths."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    return "".join(_stand_in(sign) for sign in found), error.end


def _stand_in(sign: str) -> str:
    code = ord(sign)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else PLAIN.get(sign, "?")


codecs.register_error("dmx.plain", plain)


class Forgiving(io.TextIOBase):
    """A text stream that never raises encoding errors, and discards output once its reader has closed the pipe.

    It hides the underlying binary buffer, to which click would write UTF-8 where the encoding is ASCII.
    """

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a property there, too
        """The encoding of the stream."""
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """The handler of encoding errors."""
        return self._stream.errors

    def write(self, text: str) -> int:
        """Write a text, unless the reader is gone."""
        if text != "":  # click probes the type of stream with "" and b""; the latter must fail
            with self._left():
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the underlying stream."""
        with self._left():
            self._stream.flush()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The file descriptor of the underlying stream."""
        return self._stream.fileno()

    @contextmanager
    def _left(self) -> Iterator[None]:
        """Once the reader is gone (`| head`, a closed terminal), discard all further output and let the command run.

        Raises:
            UserError: The output cannot be written for another reason.
        """
        try:
            yield
        except OSError as error:
            with Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise UserError(f"the output cannot be written ({error.strerror}); send it elsewhere.") from None


def forgiving() -> None:
    """Wrap stdout and stderr of this process as `Forgiving`."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by our caller
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open to the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="dmx.plain")
            setattr(sys, name, Forgiving(stream))
