"""Ctrl-C held back until a training step is complete."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType


class HeldInterrupts:
    """Hold back Ctrl-C (SIGINT) within a block, and deliver it at the end.

    An update that is interrupted halfway would be lost or applied twice. Within the block the first
    Ctrl-C is noted; :meth:`deliver` and the end of the block pass it on to the handler that was
    installed before, which by default raises KeyboardInterrupt. A second Ctrl-C that arrives
    before that is passed on at once, so that a hanging device can be left.

    Outside the main thread, where Python delivers no signals, the block does nothing.
    """

    def __init__(self) -> None:
        self._handler: Callable[[int, FrameType | None], object] | None = None
        self._pending = False

    @property
    def active(self) -> bool:
        """Whether the block is entered."""
        return self._handler is not None

    def __enter__(self) -> HeldInterrupts:
        if threading.current_thread() is not threading.main_thread():
            return self
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler):
            try:
                self._handler = handler
                signal.signal(signal.SIGINT, self._hold)
            except BaseException:  # an interrupt just before it could be held back
                self._handler = None
                raise
        return self

    def _hold(self, number: int, frame: FrameType | None) -> None:
        if self._pending and self._handler is not None:
            self._handler(number, frame)
        self._pending = True

    def deliver(self) -> None:
        """Pass on the interrupt that was held back, if there is one."""
        if self._pending and self._handler is not None:
            self._pending = False
            self._handler(signal.SIGINT, None)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        handler, self._handler = self._handler, None
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
            pending, self._pending = self._pending, False
            if pending and not isinstance(error, KeyboardInterrupt):
                handler(signal.SIGINT, None)
