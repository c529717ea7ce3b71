"use strict";
const { afterEach, test } = require("node:test");
const assert = require("node:assert/strict");
const app = require("../../../../static/app.js");

const MINUS = "\u2212";

// Elements with the part of a browser's interface that app.js uses.
class Element {
  constructor(dataset = {}, text = "") {
    Object.assign(this, { dataset, text, children: [], className: "", parent: null });
    this.classList = { add() {}, remove() {} };
  }
  get textContent() { return this.children.length ? this.children.map((child) => child.textContent).join("") : this.text; }
  set textContent(text) { [this.text, this.children] = [text, []]; }
  append(...children) { for (const child of children) { child.parent = this; this.children.push(child); } }
  replaceChildren(...children) { [this.children, this.text] = [[], ""]; this.append(...children); }
  all() { return this.children.flatMap((child) => [child, ...child.all()]); }
  // Supports only selectors of the form `[data-name]`.
  querySelectorAll(selector) {
    const name = /^\[data-(\w+)\]$/.exec(selector)[1];
    return this.all().filter((element) => element.dataset[name] !== undefined);
  }
  querySelector(selector) { return this.querySelectorAll(selector)[0] ?? null; }
  closest(selector) {
    const name = /^\[data-(\w+)\]$/.exec(selector)[1];
    let element = this;
    while (element && element.dataset[name] === undefined) element = element.parent;
    return element;
  }
}

function pageOf(...children) {
  const page = new Element();
  page.append(...children);
  globalThis.document = {
    querySelectorAll: (selector) => page.querySelectorAll(selector),
    querySelector: (selector) => (selector.startsWith("[") ? page.querySelector(selector) : null),
    createElement: () => new Element(),
    createTextNode: (text) => new Element({}, text),
  };
  globalThis.requestAnimationFrame = () => {};
  return page;
}

afterEach(() => { delete globalThis.document; });

test("amounts have separators and a real minus", () => {
  assert.equal(app.grouped("1234567.89"), "1,234,567.89");
  assert.equal(app.grouped("-999"), `${MINUS}999`);
  assert.equal(app.grouped("-1000.5"), `${MINUS}1,000.5`);
  assert.equal(app.grouped("0.1234"), "0.1234");
});

test("a change has a sign and a tone, and zero has neither", () => {
  assert.deepEqual(app.delta("12.50", ""), { text: "+12.50", tone: "up" });
  assert.deepEqual(app.delta("-1234.00", "%"), { text: `${MINUS}1,234.00%`, tone: "down" });
  for (const zero of ["0", "0.00", "-0.00"]) assert.deepEqual(app.delta(zero, "%").tone, "", zero);
  assert.equal(app.delta("-0.00", "%").text, "0.00%");
});

test("cents are added exactly beyond the integers of a double", () => {
  const large = "9007199254740993.01";
  assert.equal(app.amount(app.cents(large) + app.cents("0.01")), "9007199254740993.02");
  assert.equal(app.amount(app.cents("-0.05")), "-0.05");
  assert.equal(app.amount(app.cents("1.00") - app.cents("1.07")), "-0.07");
  assert.equal(app.amount(0n), "0.00");
});

test("a ratio of nothing is undefined", () => {
  assert.equal(app.ratio(50n, 200n), 25);
  assert.equal(app.ratio(50n, 0n), undefined);
  assert.equal(app.ratio(50n, -1n), undefined);
});

const valuation = (changes = {}) => ({
  portfolio_id: 7, version: 3, valued_at: "2026-11-20T15:00:00Z", total_value: "1010.00", day_change: "10.00",
  unrealized_pnl: "-30.00", total_gain: "20.00",
  positions: [
    { symbol: "AAPL", cost_basis: "300.00", unrealized_pnl: "-30.00", realized_pnl: "50.05", as_of: "2026-11-20T14:59:00Z" },
    { symbol: "KO", cost_basis: "0.00", unrealized_pnl: "0.00", realized_pnl: "0.00", as_of: "2026-11-20T14:58:00Z" },
  ],
  ...changes,
});

test("a portfolio's percentages follow its amounts", () => {
  pageOf(new Element({ deposits: "1000.00" }));
  const values = app.ofPortfolio(valuation());
  assert.equal(values.gain_percent, 2);
  assert.equal(values.day_change_percent, 1);
  assert.equal(values.unrealized_percent, -10);
  assert.equal(values.rows[0].together, "20.05");
  assert.equal(values.rows[0].unrealized_percent, -10);
  assert.equal(values.rows[1].unrealized_percent, undefined, "of a cost of zero");
  assert.equal(values.as_of, "2026-11-20T14:59:00Z");
});

test("a page without deposits shows no percentage of them", () => {
  pageOf();
  assert.equal(app.ofPortfolio(valuation()).gain_percent, undefined);
});

test("an item of a watchlist without a price is left out", () => {
  const quote = { symbol: "AAPL", as_of: "2026-11-20T15:00:00Z" };
  const values = app.ofWatchlist({ items: [{ quote: null }, { quote }] });
  assert.deepEqual(values, { rows: [quote], as_of: quote.as_of });
});

test("values go to elements of their name, and rows keep theirs", () => {
  const total = new Element({ value: "total_value", as: "money" }, "1,000.00");
  const price = new Element({ value: "price", as: "price" }, "10.00");
  const row = new Element({ symbol: "AAPL" });
  row.append(price);
  const page = pageOf(total, row);
  app.fill(page, { total_value: "1234.50", price: "99.00" }, false);
  assert.equal(total.textContent, "1,234.50");
  assert.equal(price.textContent, "10.00", "a price of the page is no price of a row");
  app.fill(row, { price: "11.00" }, true);
  assert.equal(price.textContent, "11.00");
});

test("missing values leave what the server wrote", () => {
  const total = new Element({ value: "total_value", as: "money" }, "1,000.00");
  const page = pageOf(total);
  app.fill(page, { total_value: null }, false);
  app.fill(page, {}, false);
  assert.equal(total.textContent, "1,000.00");
});

test("every shape formats as the server does", () => {
  pageOf();
  const text = (name, value) => app.shapes[name](value).map((node) => node.textContent).join("");
  assert.equal(text("money", "1234.5"), "1,234.5");
  assert.equal(text("figure", "1234.56"), "1,234.56");
  assert.equal(text("figure", "-7"), `${MINUS}7.00`);
  assert.equal(text("gain", "-0.10"), `${MINUS}0.10`);
  assert.equal(text("percent", "1.005"), "+1.00%");
  assert.equal(text("percent", "-0.001"), "0.00%");
  assert.equal(text("second", "2026-11-20T15:30:05Z"), "20 Nov 2026, 10:30:05 New York");
});

test("a valuation of older books or an earlier time is ignored", () => {
  pageOf();
  const page = { querySelectorAll: () => [{ dataset: { books: "41", version: "5" } }] };
  app.noteBooks(page);
  const at = (version, minute) => ({ version, valued_at: `2026-11-20T15:0${minute}:00Z` });
  assert.equal(app.isNewest("41", at(4, 9)), false, "older books, although valued later");
  assert.equal(app.isNewest("41", at(5, 2)), true);
  assert.equal(app.isNewest("41", at(5, 1)), false, "an answer that was slow");
  assert.equal(app.isNewest("41", at(5, 3)), true);
  assert.equal(app.isNewest("42", at(1, 0)), true, "a portfolio that was not shown before");
});

test("a page from older books than those shown is older", () => {
  pageOf();
  const page = (version) => ({ querySelectorAll: () => [{ dataset: { books: "51", version: String(version) } }] });
  app.noteBooks(page(5));
  assert.equal(app.isOlder(page(4)), true);
  assert.equal(app.isOlder(page(5)), false);
  assert.equal(app.isOlder(page(6)), false);
});
