"""Trades with the generated Python client, and so tests what programs rely on that were written for the description.

    python trade.py SERVER
"""

import sys
from http import HTTPStatus
from uuid import uuid4

from stockyard_client import AuthenticatedClient, Client
from stockyard_client.api.account import create_token, log_in, register_user
from stockyard_client.api.market import get_market_calendar, get_market_clock
from stockyard_client.api.orders import (
    cancel_all_orders,
    cancel_order,
    get_order,
    list_orders,
    place_order,
    preview_order,
)
from stockyard_client.api.portfolios import (
    close_all_positions,
    close_position,
    create_portfolio,
    get_position,
    list_transactions,
    move_cash,
)
from stockyard_client.api.stocks import get_price_history, get_quote, list_quotes, list_stocks
from stockyard_client.models import (
    CancelAttemptPage,
    CancelOutcome,
    CloseAttemptPage,
    MarketClockStatus,
    MarketSessionPage,
    StockPage,
    SymbolQuotePage,
    CashDirection,
    CashMovement,
    Credentials,
    HistoryRange,
    NewLimitOrder,
    NewMarketOrder,
    NewPortfolio,
    NewToken,
    NewTokenSecret,
    NewUser,
    Order,
    OrderFilter,
    OrderStatus,
    OrderPage,
    TransactionPage,
    Portfolio,
    Position,
    OrderPreview,
    PriceHistory,
    Problem,
    ProblemCode,
    Quote,
    Side,
    TimeInForce,
    Transaction,
    User,
)


def main(server: str) -> None:
    anonymous = Client(base_url=server)
    name = f"py{uuid4().hex[:12]}"
    password = "a fence around the yard"
    user = register_user.sync(
        client=anonymous, body=NewUser(username=name, email=f"{name}@example.org", password=password)
    )
    assert isinstance(user, User), user
    login = log_in.sync_detailed(client=anonymous, body=Credentials(username=name, password=password))
    assert login.status_code == HTTPStatus.OK, login
    cookie = f"session={anonymous.get_httpx_client().cookies['session']}"
    session = AuthenticatedClient(base_url=server, token=cookie, prefix="", auth_header_name="Cookie")
    token = create_token.sync(client=session, body=NewToken(name="trade.py"))
    assert isinstance(token, NewTokenSecret), token
    client = AuthenticatedClient(base_url=server, token=token.token)

    portfolio = create_portfolio.sync(client=client, body=NewPortfolio(name="Growth", cash_balance="10000.00"))
    assert isinstance(portfolio, Portfolio), portfolio
    assert portfolio.archived_at is None
    deposit = move_cash.sync(
        portfolio.id, client=client, body=CashMovement(type_=CashDirection.DEPOSIT, amount="500.00")
    )
    assert isinstance(deposit, Transaction) and deposit.amount == "500.00", deposit

    quote = get_quote.sync("AAPL", client=client)
    assert isinstance(quote, Quote), quote
    quotes = list_quotes.sync(client=client, symbols="AAPL,NOPE")
    assert isinstance(quotes, SymbolQuotePage), quotes
    assert isinstance(quotes.items[0].quote, Quote) and isinstance(quotes.items[1].problem, Problem), quotes
    clock = get_market_clock.sync(client=client)
    assert isinstance(clock, MarketClockStatus) and clock.next_close > clock.now, clock
    calendar = get_market_calendar.sync(client=client)
    assert isinstance(calendar, MarketSessionPage) and calendar.items, calendar
    stocks = list_stocks.sync(client=client, limit=2)
    assert isinstance(stocks, StockPage) and stocks.next_cursor and stocks.items[0].tradable, stocks
    history = get_price_history.sync("AAPL", client=client, range_=HistoryRange.VALUE_1)
    assert isinstance(history, PriceHistory), history

    market = NewMarketOrder(symbol="AAPL", side=Side.BUY, type_="market", quantity="2")
    preview = preview_order.sync(portfolio.id, client=client, body=market)
    assert isinstance(preview, OrderPreview) and preview.quantity == "2", preview
    bought = place_order.sync_detailed(portfolio.id, client=client, body=market, idempotency_key="first")
    assert bought.status_code == HTTPStatus.CREATED
    assert isinstance(bought.parsed, Order) and bought.parsed.status is OrderStatus.FILLED, bought
    again = place_order.sync_detailed(portfolio.id, client=client, body=market, idempotency_key="first")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert isinstance(again.parsed, Order) and again.parsed.id == bought.parsed.id

    limit = NewLimitOrder(
        symbol="AAPL", side=Side.BUY, type_="limit", quantity="1", limit_price="1.00", time_in_force=TimeInForce.GTC
    )
    waiting = place_order.sync(portfolio.id, client=client, body=limit)
    assert isinstance(waiting, Order) and waiting.status is OrderStatus.ACCEPTED, waiting
    open_orders = list_orders.sync(portfolio.id, client=client, status=OrderFilter.OPEN, limit=10)
    assert isinstance(open_orders, OrderPage) and [order.id for order in open_orders.items] == [waiting.id]
    canceled = cancel_order.sync(portfolio.id, waiting.id, client=client)
    assert isinstance(canceled, Order) and canceled.status is OrderStatus.CANCELED, canceled
    order = get_order.sync(portfolio.id, waiting.id, client=client)
    assert isinstance(order, Order) and order.canceled_at is not None

    working = place_order.sync(portfolio.id, client=client, body=limit)
    assert isinstance(working, Order), working
    attempts = cancel_all_orders.sync(portfolio.id, client=client)
    assert isinstance(attempts, CancelAttemptPage), attempts
    assert [attempt.outcome for attempt in attempts.items] == [CancelOutcome.CANCELED], attempts

    position = get_position.sync(portfolio.id, "AAPL", client=client)
    assert isinstance(position, Position) and position.quantity == "2", position
    too_many = NewMarketOrder(symbol="AAPL", side=Side.SELL, type_="market", quantity="3")
    refused = place_order.sync(portfolio.id, client=client, body=too_many)
    assert isinstance(refused, Problem), refused
    assert refused.code is ProblemCode.INSUFFICIENT_SHARES and refused.available == "2", refused
    closed = close_position.sync(portfolio.id, "AAPL", client=client)
    assert isinstance(closed, Order) and closed.status is OrderStatus.FILLED, closed
    gone = get_position.sync(portfolio.id, "AAPL", client=client)
    assert isinstance(gone, Problem) and gone.status == HTTPStatus.NOT_FOUND, gone
    rest = close_all_positions.sync(portfolio.id, client=client, cancel_orders=True, idempotency_key="evening")
    assert isinstance(rest, CloseAttemptPage) and rest.items == [], rest
    journal = list_transactions.sync(portfolio.id, client=client)
    assert isinstance(journal, TransactionPage) and len(journal.items) == 4, journal
    print(f"{name}: {closed.symbol} sold at {closed.filled_price}")


main(sys.argv[1])
