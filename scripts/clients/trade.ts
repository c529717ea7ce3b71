// Trades with the generated types, and so tests what programs rely on that were written for the description.
//
//   node trade.js SERVER

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import createClient from "openapi-fetch";
import type { components, paths } from "./stockyard.js";

type NewOrder = components["schemas"]["NewOrder"];
type Problem = components["schemas"]["Problem"];

function successful<T>(answer: { data?: T; error?: Problem }): T {
  if (answer.data === undefined) throw new Error(answer.error?.detail);
  return answer.data;
}

const server = process.argv[2];
assert(server);
const anonymous = createClient<paths>({ baseUrl: server });

const username = `ts${randomUUID().slice(0, 12)}`;
const password = "a fence around the yard";
const user = successful(
  await anonymous.POST("/api/v1/auth/register", {
    body: { username, email: `${username}@example.org`, password },
  }),
);
assert.equal(user.username, username);
const { token } = successful(
  await anonymous.POST("/api/v1/auth/tokens", { body: { name: "trade.ts", username, password } }),
);

const client = createClient<paths>({ baseUrl: server, headers: { Authorization: `Bearer ${token}` } });
const { id } = successful(
  await client.POST("/api/v1/portfolios", { body: { name: "Growth", cash_balance: "10000.00" } }),
);
const path = { id };

async function place(order: NewOrder) {
  return client.POST("/api/v1/portfolios/{id}/orders", { params: { path }, body: order });
}

const bought = successful(await place({ type: "market", symbol: "AAPL", side: "buy", quantity: "2" }));
assert.equal(bought.status, "filled");
const waiting = successful(
  await place({
    type: "limit",
    symbol: "AAPL",
    side: "buy",
    quantity: "1",
    limit_price: "1.00",
    time_in_force: "gtc",
  }),
);
const open = successful(
  await client.GET("/api/v1/portfolios/{id}/orders", { params: { path, query: { status: "open", limit: 10 } } }),
);
assert.deepEqual(open.items.map((order) => order.id), [waiting.id]);
const canceled = successful(
  await client.DELETE("/api/v1/portfolios/{id}/orders/{order_id}", {
    params: { path: { id, order_id: waiting.id } },
  }),
);
assert.equal(canceled.status, "canceled");

const attempts = successful(await client.DELETE("/api/v1/portfolios/{id}/orders", { params: { path } }));
assert.deepEqual(attempts.items, []);
const clock = successful(await client.GET("/api/v1/market/clock"));
assert.ok(clock.next_close > clock.now);
const quotes = successful(
  await client.GET("/api/v1/stocks/quotes", { params: { query: { symbols: "AAPL,NOPE" } } }),
);
assert.equal(quotes.items[0]?.quote?.symbol, "AAPL");
assert.equal(quotes.items[1]?.problem?.code, "unknown_symbol");

const valuation = successful(await client.GET("/api/v1/portfolios/{id}/valuation", { params: { path } }));
const position: components["schemas"]["Position"] | undefined = valuation.positions[0];
assert.equal(position?.quantity, "2");
const refused = await place({ type: "market", symbol: "AAPL", side: "sell", quantity: "3" });
assert.equal(refused.data, undefined);
assert.equal(refused.error?.code, "insufficient_shares");
assert.equal(refused.error?.available, "2");
const closed = successful(
  await client.DELETE("/api/v1/portfolios/{id}/positions/{symbol}", { params: { path: { id, symbol: "AAPL" } } }),
);
assert.equal(closed.status, "filled");
console.log(`${username}: ${closed.symbol} sold at ${closed.filled_price}`);
