"use strict";
const { test } = require("node:test");
const assert = require("node:assert/strict");
const charts = require("../../../../static/charts.js");

const bar = (date, close) => ({ date, open: "10", high: "12", low: "9", close, volume: 100 });
const items = [bar("2026-11-19", "11"), bar("2026-11-20", "10.50")];

test("bars become numbers and the newest price the bar of its day", () => {
  const bars = charts.priceData(items, { date: "2026-11-21", price: "10.75" });
  assert.deepEqual(bars[1], { time: "2026-11-20", open: 10, high: 12, low: 9, close: 10.5, volume: 100 });
  assert.deepEqual(bars[2], { time: "2026-11-21", open: 10.75, high: 10.75, low: 10.75, close: 10.75 });
  assert.deepEqual(charts.closes(bars).map(({ value }) => value), [11, 10.5, 10.75]);
  assert.equal(charts.priceData(items, null).length, 2);
});

test("a price of a finished session or of an earlier day changes nothing", () => {
  const bars = charts.priceData(items, null);
  assert.equal(charts.withPrice(bars, { date: "2026-11-20", price: "99" }), bars);
  assert.equal(charts.withPrice(bars, { date: "2026-11-18", price: "99" }), bars);
});

test("prices of one day extend its bar", () => {
  let bars = charts.priceData(items, { date: "2026-11-21", price: "10.75" });
  for (const price of ["10.20", "11.30", "10.90"]) bars = charts.withPrice(bars, { date: "2026-11-21", price });
  assert.equal(bars.length, 3);
  assert.deepEqual(bars[2], { time: "2026-11-21", open: 10.75, high: 11.3, low: 10.2, close: 10.9 });
});

const point = (date, twr, benchmark = null, net_flow = "0.00") =>
  ({ date, total_value: String(1000 * (1 + twr)), net_flow, twr, benchmark });

test("drawdown is measured from the highest growth since the start of the window", () => {
  const series = [point("2026-11-19", 0.1), point("2026-11-20", -0.012), point("2026-11-23", 0.21)];
  const { days, symbol } = charts.performanceData({ series, benchmark: null });
  assert.equal(symbol, null);
  assert.deepEqual(days.map(({ drawdown }) => Number(drawdown.toFixed(4))), [0, -10.1818, 0]);
  const falls = charts.performanceData({ series: [point("2026-11-19", -0.05)], benchmark: null });
  assert.equal(Number(falls.days[0].drawdown.toFixed(4)), -5);
});

test("a benchmark that begins later has no points before", () => {
  const series = [point("2026-11-19", 0), point("2026-11-20", 0.1, 0), point("2026-11-23", 0.2, 0.05)];
  const { days, symbol } = charts.performanceData({ series, benchmark: { symbol: "SPY" } });
  assert.equal(symbol, "SPY");
  assert.deepEqual(charts.line(days, "benchmark"), [{ time: "2026-11-20", value: 100 }, { time: "2026-11-23", value: 105 }]);
  assert.equal(charts.line(days, "growth").length, 3);
});

test("deposits and withdrawals are marked, except the one that opened the portfolio", () => {
  const series = [
    point("2026-11-19", 0, null, "1000.00"), point("2026-11-20", 0, null, "0.00"),
    point("2026-11-23", 0, null, "2500.00"), point("2026-11-24", 0, null, "-10.50"),
  ];
  const { days } = charts.performanceData({ series, benchmark: null });
  assert.deepEqual(charts.flowMarks(days, { grouped: (text) => text }), [
    { date: "2026-11-23", text: "Deposit 2500.00" },
    { date: "2026-11-24", text: "Withdrawal 10.50" },
  ]);
});

test("the notes of a day are those of its marks, in their order", () => {
  const marks = [
    { date: "2026-11-20", kind: "buy", text: "Bought 1" }, { date: "2026-11-20", kind: "deposit", text: "Deposit 5.00" },
    { date: "2026-11-23", kind: "withdrawal", text: "Withdrawal 5.00" },
  ];
  assert.deepEqual(charts.notesOf(marks, "2026-11-20"), ["Bought 1", "Deposit 5.00"]);
  assert.deepEqual(charts.notesOf(marks, "2026-11-21"), []);
});

test("a change is in percent of the first value, and undefined without one", () => {
  assert.equal(charts.change(100, 105), 5.000000000000004);
  assert.equal(charts.change(0, 105), undefined);
  assert.equal(charts.change(undefined, undefined), undefined);
});

test("a zoom stays within the data", () => {
  assert.deepEqual(charts.zoomed({ from: 0, to: 100 }, 0.5, 101), { from: 25, to: 75 });
  assert.deepEqual(charts.zoomed({ from: 0, to: 50 }, 4, 101), { from: 0, to: 100 });
  assert.deepEqual(charts.zoomed({ from: 80, to: 100 }, 2, 101), { from: 60, to: 100 });
  assert.deepEqual(charts.zoomed({ from: 50, to: 52 }, 0.1, 101), { from: 50, to: 52 });
});

test("days are written as on the pages, and belong to New York", () => {
  assert.equal(charts.dayName("2026-11-05"), "5 Nov 2026");
  assert.equal(charts.dayOf("2026-11-21T04:59:59Z"), "2026-11-20");
  assert.equal(charts.dayOf("2026-11-21T05:00:00Z"), "2026-11-21");
});
