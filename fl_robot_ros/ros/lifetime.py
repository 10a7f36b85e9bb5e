"""Runs a node's process from start to end."""

from __future__ import annotations

import gc
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, ShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from fl_robot_ros.capture.malloc import reuse_memory
from fl_robot_ros.errors import FlRobotError, SettingError
from fl_robot_ros.ros.command_line import NodeCommand
from fl_robot_ros.ros.parent import is_parent_gone

_PARENT_CHECK_SEC = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_node(
    command: NodeCommand, make_node: Callable[[], Node], args: Sequence[str] | None = None
) -> int:
    """Run one node as the whole of a process and return its exit code.

    The node is destroyed at the end, while ROS still works: its `destroy_node` may log, publish
    and end its threads. A node with an attribute `finished`, a Future, ends the process by
    completing it, with the exit code as result.

    Args:
        command: The node's command line.
        make_node: The node's class.
        args: Command line; None: sys.argv.

    Returns:
        0 after Ctrl-C, SIGTERM, a shutdown, a regular end or `--help`; 2 for an invalid setting or
        command line; 1 for any other error of this package.
    """
    program = Path(sys.argv[0]).name
    arguments = sys.argv[1:] if args is None else args
    reuse_memory()
    # Not rclpy's handlers: they shut ROS down under a node, and what comes while they are taken
    # away gets lost. Until the node spins, a signal is a KeyboardInterrupt.
    if _is_main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    node: Node | None = None
    try:
        if command.wants_help(arguments):
            print(command.help())
            return 0
        try:
            rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        except RuntimeError as error:  # rcl rejects its arguments.
            print(f"{program}: {_one_line(error)}", file=sys.stderr)
            return 2
        node = make_node()
        finished: Future = getattr(node, "finished", None) or Future()
        spin_until_shutdown(node, finished)
        return int(finished.result() or 0) if finished.done() else 0
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except FlRobotError as error:
        print(f"{program}: {_one_line(error)}", file=sys.stderr)
        return 2 if isinstance(error, SettingError) else 1
    except ParameterException as error:  # of a parameter that ROS itself declares
        print(f"{program}: {_one_line(error)}", file=sys.stderr)
        return 2
    except Exception:
        if rclpy.ok():
            raise
        return 0  # A signal shut ROS down while the node was being made.
    finally:
        _take_signals()
        if node is None:
            # The shutdown would call `destroy_node` of a node that is half built.
            gc.collect()
        else:
            node.destroy_node()
        rclpy.try_shutdown()


def spin_until_shutdown(node: Node, finished: Future | None = None) -> None:
    """Spin the node until SIGINT, SIGTERM, a shutdown, the parent's end or `finished`.

    ROS still works when this returns, unless the node shut it down. From here to the end of the
    process no signal interrupts anything: a second SIGINT (`ros2 launch` sends one beside the
    terminal's) cannot break off a cleanup.

    Args:
        node: The node to spin.
        finished: Ends the spinning when it completes.
    """
    ending = Future()
    if finished is not None:
        finished.add_done_callback(lambda _: _complete(ending, "finished"))
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    try:
        with _watch_for_end(lambda reason: _complete(ending, reason)):
            executor.spin_until_future_complete(ending)
    except (KeyboardInterrupt, ExternalShutdownException, ShutdownException):
        pass
    finally:
        executor.remove_node(node)
        executor.shutdown(timeout_sec=0)
    if ending.done() and ending.result() != "finished":
        node.get_logger().info(f"ending: {ending.result()}")


@contextmanager
def _watch_for_end(end: Callable[[str], None]) -> Iterator[None]:
    """Call `end` with the reason, from a thread, at a signal or when the parent is gone."""
    receiver, sender = socket.socketpair()
    receiver.settimeout(_PARENT_CHECK_SEC)
    sender.setblocking(False)
    in_main_thread = _is_main_thread()
    if in_main_thread:
        # The executor waits outside of Python, where Python's own handlers cannot run; the number
        # of the signal written to a socket reaches a thread at once.
        signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        _take_signals()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            try:
                received = receiver.recv(1)
            except TimeoutError:
                received = b""
            if received and received[0] in _SIGNALS:
                end(signal.Signals(received[0]).name)
            elif is_parent_gone():
                end("the parent process is gone")
                return

    thread = threading.Thread(target=watch, daemon=True, name="lifetime")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        if in_main_thread:
            signal.set_wakeup_fd(-1)
        sender.send(b"\0")
        thread.join()
        sender.close()
        receiver.close()


def _is_main_thread() -> bool:
    """Say whether this thread may set handlers of signals."""
    return threading.current_thread() is threading.main_thread()


def _take_signals() -> None:
    """Stop SIGINT and SIGTERM from interrupting, where this thread may do so."""
    if _is_main_thread():
        for number in _SIGNALS:
            signal.signal(number, _ignore)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Handle a signal without a KeyboardInterrupt."""


def _complete(future: Future, result: str) -> None:
    if not future.done():
        future.set_result(result)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
