"""A trading bot: buys when the fast average of a price rises above the slow one, with a limit order and exits on both sides.

    STOCKYARD_TOKEN=sy_... python3 moving_average.py SERVER PORTFOLIO SYMBOL
"""
import http.client, json, os, sys, time
from collections import deque
from decimal import ROUND_DOWN, Decimal
from urllib.parse import urlsplit

FAST, SLOW = int(os.environ.get("FAST", "5")), int(os.environ.get("SLOW", "20"))  # prices
GAIN, LOSS, CENT = Decimal("1.01"), Decimal("0.99"), Decimal("0.01")

def connect():
    return http.client.HTTPConnection(SERVER.hostname, SERVER.port, timeout=40)  # a heartbeat is due every 15 s

def call(method, path, body=None, **headers):
    """Sends a request until there is a response; the key of an order prevents placing it twice."""
    while True:
        try:
            connection = connect()
            connection.request(method, f"/api/v1{path}", body and json.dumps(body), HEADERS | headers)
            response = connection.getresponse()
            answer = json.load(response)
            if response.status not in (429, 503):
                return response.status, answer
            time.sleep(int(response.headers.get("Retry-After", "1")))
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            time.sleep(1)  # the server restarts, or the network was interrupted

def events():
    """Yields every event. Reconnects after an interruption with the last id, so that no order is missed."""
    resume = {}
    while True:
        try:
            connection = connect()
            connection.request("GET", f"/api/v1/stream?symbols={SYMBOL}&portfolio={PORTFOLIO}", headers=HEADERS | resume)
            response = connection.getresponse()
            if response.status in (401, 403, 404, 422):
                sys.exit(response.read().decode())
            fields = {}
            for line in response if response.status == 200 else []:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                elif "data" in fields:
                    resume = {"Last-Event-ID": fields["id"]} if "id" in fields else resume
                    yield fields["event"], json.loads(fields["data"])
                    fields = {}
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(1)

def note(order, working):
    """Updates the ids of open orders, including exits."""
    for one in [order, *order["legs"]]:
        is_open = not (one["filled_at"] or one["canceled_at"])
        (working.add if is_open else working.discard)(one["id"])
    print(order["side"], order["status"], order["filled_price"] or order["limit_price"], flush=True)

def run():
    prices, working, shares, above = deque(maxlen=SLOW), set(), Decimal(0), None
    for event, data in events():
        if event == "quote":
            prices.append(Decimal(data["price"]))
        elif event == "valuation":
            shares = sum(Decimal(held["quantity"]) for held in data["positions"] if held["symbol"] == SYMBOL)
        elif event == "order" and data["symbol"] == SYMBOL:
            note(data, working)
        elif event == "reset":  # the only time when orders are asked for: events were missed
            _, page = call("GET", f"/portfolios/{PORTFOLIO}/orders?status=open&symbol={SYMBOL}")
            working = set()
            for order in page["items"]:
                note(order, working)
        if event != "quote" or len(prices) < SLOW:
            continue
        was_above, above = above, sum(list(prices)[-FAST:]) / FAST > sum(prices) / SLOW
        if above and was_above is False and not shares and not working:
            price = prices[-1].quantize(CENT, ROUND_DOWN)
            order = {"symbol": SYMBOL, "side": "buy", "type": "limit", "quantity": "1", "limit_price": str(price),
                     "time_in_force": "gtc", "order_class": "bracket",
                     "take_profit": {"limit_price": str((price * GAIN).quantize(CENT))},
                     "stop_loss": {"stop_price": str((price * LOSS).quantize(CENT))}}
            key = f"ma-{data['as_of']}".replace(":", "")
            status, answer = call("POST", f"/portfolios/{PORTFOLIO}/orders", order, **{"Idempotency-Key": key})
            print("placed" if status == 201 else f"refused: {answer['detail']}", price, flush=True)

SERVER, PORTFOLIO, SYMBOL = urlsplit(sys.argv[1]), sys.argv[2], sys.argv[3]
HEADERS = {"Authorization": f"Bearer {os.environ['STOCKYARD_TOKEN']}", "Content-Type": "application/json"}
run()
