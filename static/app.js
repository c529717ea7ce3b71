// Updates prices, values and orders on open pages, and suggests symbols. All pages work without this script.
"use strict";

(() => {
  const EVERY_MS = 4000;
  const SLOWEST_MS = 60000;
  // More than two intervals between heartbeats of a stream (15 s).
  const SILENT_MS = 40000;
  const RETRY_MS = 30000;
  const MINUS = "\u2212";

  // The server formats amounts (format.rs). These functions follow the same rules for values that change.
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

  // Each function returns the new content of an element.
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
      // The clock in the top bar shows the market's day, which may differ from today.
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
    if (element.dataset.as !== "second") mark(element);
  }

  // Marks all changed values at once, before the next frame, so that the browser computes the layout only once.
  const changed = new Set();
  function mark(element) {
    if (changed.size === 0) requestAnimationFrame(() => {
      for (const each of changed) each.classList.remove("ticked");
      void document.body.offsetWidth;
      for (const each of changed) each.classList.add("ticked");
      changed.clear();
    });
    changed.add(element);
  }

  function fill(root, values, inRow) {
    for (const element of root.querySelectorAll("[data-value]")) {
      if (!inRow && element.closest("[data-symbol]")) continue;
      const value = values[element.dataset.value];
      if (value !== undefined && value !== null && shapes[element.dataset.as]) show(element, value);
    }
  }

  // Adds amounts in cents, which is exact for all amounts that a page can show.
  const cents = (text) => BigInt(text.replace(".", ""));
  function amount(sum) {
    const digits = (sum < 0n ? -sum : sum).toString().padStart(3, "0");
    return (sum < 0n ? "-" : "") + digits.slice(0, -2) + "." + digits.slice(-2);
  }
  const ratio = (part, whole) => (whole > 0n ? (Number(part) / Number(whole)) * 100 : undefined);

  function ofPortfolio(valuation) {
    const positions = valuation.positions.map((position) => ({
      ...position,
      unrealized_percent: ratio(cents(position.unrealized_pnl), cents(position.cost_basis)),
      together: amount(cents(position.unrealized_pnl) + cents(position.realized_pnl)),
    }));
    const cost = positions.reduce((sum, position) => sum + cents(position.cost_basis), 0n);
    const change = cents(valuation.day_change);
    const deposits = document.querySelector("[data-deposits]")?.dataset.deposits;
    return {
      ...valuation,
      gain_percent: deposits && ratio(cents(valuation.total_gain), cents(deposits)),
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

  const row = (symbol) => document.querySelector(`[data-symbol="${CSS.escape(symbol)}"]`);

  function showValues(values) {
    fill(document, values, false);
    for (const item of values.rows || []) {
      const element = row(item.symbol);
      if (element) fill(element, item, true);
    }
  }

  // Sends an event to charts.js.
  const tell = (name, detail) => document.dispatchEvent(new CustomEvent(`stockyard:${name}`, { detail }));

  let newestQuote = "";
  function showQuote(main, quote) {
    tell("quote", quote);
    const element = row(quote.symbol);
    if (element) fill(element, quote, true);
    if (main.dataset.quote === quote.symbol) {
      fill(document, quote, false);
    } else if (element && quote.as_of > newestQuote) {
      newestQuote = quote.as_of;
      fill(document, { as_of: quote.as_of }, false);
    }
  }

  // `shown`: for each portfolio on the page, the version of its books and the time of the valuation that are shown.
  // `written`: the version of the books from which the server rendered the page. A valuation that is older than the one
  // shown, because an earlier request or another server was slow, is ignored.
  const shown = new Map();
  const written = new Map();
  function noteBooks(root) {
    for (const { dataset } of root.querySelectorAll("[data-version]")) {
      const version = Number(dataset.version);
      written.set(dataset.books, version);
      if (!(shown.get(dataset.books)?.version > version)) {
        shown.set(dataset.books, { version, at: shown.get(dataset.books)?.at || 0 });
      }
    }
  }

  function isOlder(root) {
    const versions = [...root.querySelectorAll("[data-version]")].map(({ dataset }) => dataset);
    return versions.some((books) => Number(books.version) < (shown.get(books.books)?.version || 0));
  }

  function isNewest(id, valuation) {
    const before = shown.get(id);
    const now = { version: valuation.version, at: Date.parse(valuation.valued_at) };
    if (before && (now.version < before.version || (now.version === before.version && now.at < before.at))) return false;
    shown.set(id, now);
    // Only the server renders content other than prices, such as weights and orders, so the page is fetched again.
    if (written.has(id) && now.version > written.get(id)) renew();
    return true;
  }

  function showValuation(main, valuation) {
    if (!isNewest(String(valuation.portfolio_id), valuation)) return;
    tell("valuation", valuation);
    // The page of a stock shows its position in each portfolio; other pages are about one portfolio.
    const position = document.querySelector(`[data-position="${valuation.portfolio_id}"]`);
    const values = ofPortfolio(valuation);
    if (!main.dataset.quote) showValues(values);
    else if (position) fill(position, values.rows.find((item) => item.symbol === main.dataset.quote) || {}, true);
  }

  async function refresh(main) {
    const response = await fetch(main.dataset.live, { headers: { Accept: "application/json" } });
    if (!response.ok) throw new Error(String(response.status));
    const body = await response.json();
    if (body.positions) {
      if (isNewest(main.dataset.books, body)) showValues(ofPortfolio(body));
    } else if (body.items) showValues(ofWatchlist(body));
    else showQuote(main, body);
  }

  // Fetches the page again and replaces the parts that orders change: only the server renders orders.
  let renewing = 0;
  function renew() {
    clearTimeout(renewing);
    renewing = setTimeout(async () => {
      const parts = document.querySelectorAll("[data-part]");
      if (!parts.length) return;
      // Waits while the user has the focus in such a part.
      const busy = document.activeElement?.closest("[data-part]");
      if (busy) {
        busy.addEventListener("focusout", renew, { once: true });
        return;
      }
      try {
        const response = await fetch(location.href, { headers: { Accept: "text/html" } });
        if (!response.ok || response.redirected) return;
        const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
        if (isOlder(fresh)) {
          renew();
          return;
        }
        noteBooks(fresh);
        for (const part of parts) {
          const other = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
          if (other) part.replaceChildren(...document.adoptNode(other).childNodes);
        }
      } catch { /* the next order event tries again */ }
    }, 300);
  }

  // The page uses one stream while it is visible. Without a stream it polls every few seconds.
  function keepLive(main) {
    const signs = document.querySelectorAll("[data-live-state]");
    let stream = null;
    let watch = 0;
    let timer = 0;
    let wait = EVERY_MS;

    function say(state, text) {
      for (const sign of signs) {
        if (sign.textContent === text) continue;
        sign.dataset.liveState = state;
        sign.textContent = text;
      }
    }

    function alive() {
      say("live", "live");
      wait = EVERY_MS;
      clearTimeout(watch);
      // A connection may be dead without an error event.
      watch = setTimeout(() => { open(); reload(); }, SILENT_MS);
    }

    function close() {
      if (stream) stream.close();
      stream = null;
      clearTimeout(watch);
      clearTimeout(timer);
    }

    async function reload() {
      try {
        await refresh(main);
        return true;
      } catch {
        return false;
      }
    }

    // Polls as often as the limits allow without a stream.
    async function ask() {
      const answered = await reload();
      if (document.hidden || stream) return;
      say("off", answered ? "every few seconds" : "not live");
      wait = answered ? EVERY_MS : Math.min(wait * 2, SLOWEST_MS);
      timer = setTimeout(ask, wait);
    }

    function open() {
      close();
      if (!window.EventSource || !main.dataset.stream) {
        ask();
        return;
      }
      say("off", "connecting");
      stream = new EventSource(main.dataset.stream);
      const on = (kind, tell) => stream.addEventListener(kind, (event) => { tell(JSON.parse(event.data)); alive(); });
      on("quote", (quote) => showQuote(main, quote));
      on("valuation", (valuation) => showValuation(main, valuation));
      on("order", renew);
      on("heartbeat", () => {});
      on("reset", () => { reload(); renew(); });
      stream.onerror = () => {
        clearTimeout(watch);
        if (stream.readyState === EventSource.CLOSED) {
          // Refused: too many pages are open, the login has ended, or the server is shutting down.
          stream = null;
          ask();
          watch = setTimeout(open, RETRY_MS);
        } else {
          say("off", "reconnecting");
          watch = setTimeout(open, SILENT_MS);
        }
      };
    }

    // Browsers limit the connections to a server, so only visible pages keep one.
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) {
        close();
        say("off", "paused");
      } else {
        open();
        reload();
        renew();
      }
    });
    addEventListener("pagehide", close);
    addEventListener("pageshow", (event) => { if (event.persisted) { open(); reload(); renew(); } });
    if (!document.hidden) open();
  }

  // Suggests symbols while the user types into a field for symbols.
  function suggest(list) {
    let timer = 0;
    let last = "";
    document.addEventListener("input", (event) => {
      const field = event.target;
      if (!(field instanceof HTMLInputElement) || field.getAttribute("list") !== list.id) return;
      // If the field has several symbols, completes the last one.
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
        } catch { /* the next input tries again */ }
      }, 150);
    });
  }

  // The tests load this file in Node.js, where there is no page.
  if (typeof module === "object") {
    module.exports = {
      grouped, delta, shapes, show, fill, cents, amount, ratio, ofPortfolio, ofWatchlist, newest, noteBooks, isOlder, isNewest,
    };
    return;
  }

  window.stockyard = { grouped, delta };
  noteBooks(document);
  const live = document.querySelector("[data-live]");
  if (live) keepLive(live);
  const stocks = document.getElementById("stocks");
  if (stocks) suggest(stocks);

  // Closes a menu when the user clicks elsewhere or presses Escape.
  const open = () => document.querySelectorAll("details.menu[open], details.slip[open]");
  document.addEventListener("click", (event) => {
    for (const menu of open()) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") for (const menu of open()) menu.open = false;
  });

  // Removes the id of a flash message from the address, because the message is shown only once.
  const address = new URL(location.href);
  if (address.searchParams.has("flash")) {
    address.searchParams.delete("flash");
    history.replaceState(history.state, "", address);
  }

  // Sends a form only once, even if its button is pressed again before the response arrives.
  const RESEND_MS = 5000;
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post") return;
    if (form.dataset.sent) event.preventDefault();
    else {
      form.dataset.sent = "yes";
      setTimeout(() => delete form.dataset.sent, RESEND_MS);
    }
  });
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  });

  // Loads the calculation of a figure when its details are opened. Without this script, a link leads to the
  // calculation.
  document.addEventListener("toggle", async (event) => {
    const box = event.target;
    if (!(box instanceof HTMLDetailsElement) || !box.open || !box.matches("[data-explain]")) return;
    const link = box.querySelector("a[href]");
    if (!link || box.dataset.explain) return;
    box.dataset.explain = "loading";
    try {
      const response = await fetch(link.href, { headers: { Accept: "text/html" } });
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
      const found = response.ok && !response.redirected && fresh.querySelector("#explanation");
      if (!found) throw new Error("no explanation");
      found.removeAttribute("id");
      // The loaded part contains the definition, so it is removed here.
      for (const part of box.querySelectorAll(":scope > p:not(:first-of-type)")) part.remove();
      if (box.matches(".one")) box.querySelector(":scope > p")?.remove();
      box.append(document.adoptNode(found));
      box.dataset.explain = "loaded";
    } catch {
      // The link stays, so that the calculation can still be opened.
      box.dataset.explain = "";
    }
  }, true);

  // Moves the focus to the error message, so that screen readers read it.
  document.querySelector(".notice.bad[role=alert]")?.focus({ preventScroll: false });
})();
