// Live prices and suggestions. Everything works without this script; it only saves a reload.
"use strict";

(() => {
  const EVERY_MS = 4000;
  const SLOWEST_MS = 60000;
  const MINUS = "\u2212";

  // How amounts look is the server's doing (format.rs); these are its rules again, for values that move.
  function grouped(plain) {
    const [whole, fraction] = plain.replace("-", "").split(".");
    const text = whole.replace(/\B(?=(\d{3})+$)/g, ",") + (fraction ? "." + fraction : "");
    return (plain.startsWith("-") ? MINUS : "") + text;
  }

  function delta(plain, suffix) {
    if (!/[1-9]/.test(plain)) return { text: grouped(plain.replace("-", "")) + suffix, tone: "" };
    return plain.startsWith("-")
      ? { text: grouped(plain) + suffix, tone: "down" }
      : { text: "+" + grouped(plain) + suffix, tone: "up" };
  }

  function span(tone, text) {
    const element = document.createElement("span");
    if (tone) element.className = tone;
    element.textContent = text;
    return element;
  }

  const clock = new Intl.DateTimeFormat("en-GB", {
    timeZone: "America/New_York", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
  });
  const day = new Intl.DateTimeFormat("en-GB", {
    timeZone: "America/New_York", day: "numeric", month: "short", year: "numeric",
  });

  // Each answers the new content of an element.
  const shapes = {
    money: (value) => [document.createTextNode(grouped(value))],
    price: (value) => [document.createTextNode(grouped(value))],
    figure: (value) => {
      const [whole, cents] = grouped(value).split(".");
      return [document.createTextNode(whole), span("cents", "." + (cents || "00"))];
    },
    gain: (value) => { const { text, tone } = delta(value, ""); return [span(tone, text)]; },
    change: (value) => { const { text, tone } = delta(value, ""); return [span(tone, text)]; },
    percent: (value) => { const { text, tone } = delta(Number(value).toFixed(2), "%"); return [span(tone, text)]; },
    second: (value) => {
      const at = new Date(value);
      const time = document.createElement("time");
      time.dateTime = value;
      // The market's own clock in the bar says what day it is there: it may be moved.
      const now = document.querySelector(".clock time");
      const today = now && day.format(at) === day.format(new Date(now.dateTime));
      time.textContent = (today ? "" : day.format(at) + ", ") + clock.format(at) + " New York";
      return [time];
    },
  };

  function show(element, value) {
    const fresh = shapes[element.dataset.as](String(value));
    const before = element.textContent;
    const after = fresh.map((node) => node.textContent).join("");
    if (before.trim() === after) return;
    element.replaceChildren(...fresh);
    if (element.dataset.as === "second") return;
    element.classList.remove("ticked");
    void element.offsetWidth;
    element.classList.add("ticked");
  }

  function fill(root, values, inRow) {
    for (const element of root.querySelectorAll("[data-value]")) {
      if (!inRow && element.closest("[data-symbol]")) continue;
      const value = values[element.dataset.value];
      if (value !== undefined && value !== null && shapes[element.dataset.as]) show(element, value);
    }
  }

  // Amounts in cents: exact up to what a page can show.
  const cents = (text) => BigInt(text.replace(".", ""));
  const ratio = (part, whole) => (whole > 0n ? (Number(part) / Number(whole)) * 100 : undefined);

  function ofPortfolio(valuation) {
    const positions = valuation.positions.map((position) => ({
      ...position,
      unrealized_percent: ratio(cents(position.unrealized_pnl), cents(position.cost_basis)),
    }));
    const cost = positions.reduce((sum, position) => sum + cents(position.cost_basis), 0n);
    const change = cents(valuation.day_change);
    return {
      ...valuation,
      day_change_percent: ratio(change, cents(valuation.total_value) - change),
      unrealized_percent: ratio(cents(valuation.unrealized_pnl), cost),
      as_of: newest(positions),
      rows: positions,
    };
  }

  const newest = (items) => items.map((item) => item.as_of).sort().pop();

  function ofWatchlist(list) {
    const quotes = list.items.map((item) => item.quote).filter(Boolean);
    return { rows: quotes, as_of: newest(quotes) };
  }

  async function refresh(address) {
    const response = await fetch(address, { headers: { Accept: "application/json" } });
    if (!response.ok) throw new Error(String(response.status));
    const body = await response.json();
    const values = body.positions ? ofPortfolio(body) : body.items ? ofWatchlist(body) : body;
    fill(document, values, false);
    for (const row of values.rows || []) {
      const element = document.querySelector(`[data-symbol="${CSS.escape(row.symbol)}"]`);
      if (element) fill(element, row, true);
    }
  }

  function keepLive(address) {
    let wait = EVERY_MS;
    let timer = 0;
    const later = () => { clearTimeout(timer); timer = setTimeout(turn, wait); };
    async function turn() {
      if (document.hidden) return;
      try {
        await refresh(address);
        wait = EVERY_MS;
      } catch {
        wait = Math.min(wait * 2, SLOWEST_MS);
      }
      if (!document.hidden) later();
    }
    document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : turn()));
    later();
  }

  // Symbols for the fields that take one, while they are typed into.
  function suggest(list) {
    let timer = 0;
    let last = "";
    document.addEventListener("input", (event) => {
      const field = event.target;
      if (!(field instanceof HTMLInputElement) || field.getAttribute("list") !== list.id) return;
      // Several symbols in one field: the one being typed.
      const text = field.value.split(/[\s,;]+/).pop();
      const before = field.value.slice(0, field.value.length - text.length);
      clearTimeout(timer);
      if (!text || field.value === last) return;
      timer = setTimeout(async () => {
        last = field.value;
        try {
          const response = await fetch("/api/v1/stocks?limit=8&search=" + encodeURIComponent(text));
          if (!response.ok) return;
          const { items } = await response.json();
          list.replaceChildren(...items.map((stock) => {
            const option = document.createElement("option");
            option.value = before + stock.symbol;
            option.label = `${stock.symbol}  ${stock.company_name}`;
            return option;
          }));
        } catch { /* the next letter asks again */ }
      }, 150);
    });
  }

  const live = document.querySelector("[data-live]");
  if (live) keepLive(live.dataset.live);
  const stocks = document.getElementById("stocks");
  if (stocks) suggest(stocks);

  // A menu closes when something else is pressed, and with Escape.
  const open = () => document.querySelectorAll("details.menu[open], details.slip[open]");
  document.addEventListener("click", (event) => {
    for (const menu of open()) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") for (const menu of open()) menu.open = false;
  });

  // What was refused is read out, and reached, at once.
  document.querySelector(".notice.bad[role=alert]")?.focus({ preventScroll: false });
})();
