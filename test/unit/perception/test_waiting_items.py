from __future__ import annotations

import threading

from fl_robot_ros.perception.waiting_items import WaitingItems


def test_the_newest_item_replaces_one_that_waits_and_is_counted() -> None:
    items: WaitingItems[str] = WaitingItems(2)
    for item in ("a1", "a2", "a3"):
        items.offer(0, item)
    items.offer(1, "b1")
    assert items.take() == (0, "a3")
    assert items.take() == (1, "b1")
    assert items.dropped == [2, 0]


def test_a_longer_queue_keeps_the_order() -> None:
    items: WaitingItems[int] = WaitingItems(1, size=3)
    for item in range(5):
        items.offer(0, item)
    assert [items.take() for _ in range(3)] == [(0, 2), (0, 3), (0, 4)]
    assert items.dropped == [2]


def test_a_fast_source_does_not_hold_up_the_others() -> None:
    items: WaitingItems[int] = WaitingItems(3)
    taken = []
    for number in range(9):
        for source in range(3):
            if source == 0 or number % 3 == 0:
                items.offer(source, number)
        item = items.take()
        assert item is not None
        taken.append(item[0])
    assert taken == [0, 1, 2, 0, 1, 2, 0, 1, 2]


def test_waiting_ends_with_an_item_a_wake_or_the_end() -> None:
    items: WaitingItems[str] = WaitingItems(1)
    taken: list[object] = []

    def run() -> None:
        while not items.is_closed:
            taken.append(items.take())

    thread = threading.Thread(target=run)
    thread.start()
    items.offer(0, "a")
    items.close()
    thread.join(20.0)
    assert not thread.is_alive()
    items = WaitingItems(1)
    items.wake()
    assert items.take() is None
    items.offer(0, "b")
    assert items.take() == (0, "b")
