from __future__ import annotations

import threading

from inference.exclusive import Exclusive


def test_many_use_it_side_by_side() -> None:
    shared = Exclusive()
    with shared.used(), shared.used():
        pass
    with shared.alone(0.0) as alone:
        assert alone


def test_nobody_has_it_alone_while_it_is_used() -> None:
    shared = Exclusive()
    with shared.used(), shared.alone(0.0) as alone:
        assert not alone
    with shared.used():
        pass
    with shared.alone(0.0) as alone:
        assert alone


def test_one_at_a_time_has_it_alone() -> None:
    shared = Exclusive()
    with shared.alone(0.0) as first, shared.alone(0.0) as second:
        assert (first, second) == (True, False)


def test_whoever_wants_it_alone_waits_for_users_and_they_for_it() -> None:
    shared, order = Exclusive(), list[str]()
    using, finish, taken = threading.Event(), threading.Event(), threading.Event()

    def use() -> None:
        with shared.used():
            using.set()
            assert finish.wait(30)
            order.append("used")

    def take() -> None:
        with shared.alone(30) as alone:
            assert alone
            order.append("alone")
            taken.set()

    threads = [threading.Thread(target=use), threading.Thread(target=take)]
    threads[0].start()
    assert using.wait(30)
    threads[1].start()
    finish.set()
    assert taken.wait(30)
    with shared.used():
        order.append("used again")
    for thread in threads:
        thread.join()
    assert order == ["used", "alone", "used again"]
