from __future__ import annotations

import pytest

from guards.errors import InvalidCredential, TooManyTickets
from guards.principal import Principal, Tier
from guards.tickets import Tickets


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def principal(key_id: str = "key_1") -> Principal:
    return Principal(key_id=key_id, user_id="ana", tier=Tier.FREE)


def test_a_ticket_is_good_once() -> None:
    tickets = Tickets()
    ticket = tickets.issue(principal())
    assert tickets.take(ticket) == principal()
    with pytest.raises(InvalidCredential):
        tickets.take(ticket)


def test_a_ticket_expires() -> None:
    clock = Clock()
    tickets = Tickets(lifetime=60, clock=clock)
    early, ticket = tickets.issue(principal()), tickets.issue(principal())
    clock.now += 59.9
    assert tickets.take(early) == principal()
    clock.now += 0.1
    with pytest.raises(InvalidCredential):
        tickets.take(ticket)
    assert len(tickets) == 0


def test_a_ticket_is_no_other() -> None:
    tickets = Tickets()
    tickets.issue(principal())
    with pytest.raises(InvalidCredential):
        tickets.take("tk_guess")


def test_one_key_can_fill_only_its_own_share() -> None:
    clock = Clock()
    tickets = Tickets(lifetime=60, limit=10, limit_per_key=2, clock=clock)
    first = tickets.issue(principal())
    clock.now += 20
    tickets.issue(principal())
    with pytest.raises(TooManyTickets) as caught:
        tickets.issue(principal())
    assert caught.value.retry_after == 40
    tickets.issue(principal("key_2"))
    tickets.take(first)
    tickets.issue(principal())


def test_the_whole_is_bounded_and_issued_tickets_stay_good() -> None:
    clock = Clock()
    tickets = Tickets(lifetime=60, limit=3, clock=clock)
    issued = [tickets.issue(principal(f"key_{number}")) for number in range(3)]
    with pytest.raises(TooManyTickets) as caught:
        tickets.issue(principal("key_9"))
    assert caught.value.retry_after == 60
    assert tickets.take(issued[0]).key_id == "key_0"
    clock.now += 60
    for number in range(3):
        tickets.issue(principal(f"key_{number}"))
