// Makes charts interactive: crosshair with date and values, zoom, ranges by drag, candles, volume, markers. The library
// is TradingView's Lightweight Charts. The server draws every chart as SVG, which is shown first, in print, and if this
// script or its data cannot be loaded.
"use strict";

(() => {
  // --- Data ---

  // Returns the daily bars, with the newest price as the bar of its day.
  function priceData(items, latest) {
    const bars = items.map(({ date, open, high, low, close, volume }) => ({
      time: date, open: Number(open), high: Number(high), low: Number(low), close: Number(close), volume,
    }));
    return latest ? withPrice(bars, latest) : bars;
  }

  function withPrice(bars, { date, price }) {
    const value = Number(price);
    const last = bars.at(-1);
    if (last && date < last.time) return bars;
    // The bar of a finished session does not change. A bar that was made from the newest price has no volume.
    if (last && date === last.time) {
      if (last.volume !== undefined) return bars;
      const bar = { ...last, high: Math.max(last.high, value), low: Math.min(last.low, value), close: value };
      return [...bars.slice(0, -1), bar];
    }
    return [...bars, { time: date, open: value, high: value, low: value, close: value }];
  }

  const closes = (bars) => bars.map(({ time, close }) => ({ time, value: close }));

  // Returns the lines of the performance API: value in money, growth of 100, and drawdown in percent.
  function performanceData(body) {
    let high = 1;
    const days = body.series.map((point) => {
      const growth = 1 + point.twr;
      high = Math.max(high, growth);
      return {
        time: point.date,
        value: Number(point.total_value),
        flow: point.net_flow,
        growth: growth * 100,
        drawdown: (growth / high - 1) * 100,
        benchmark: point.benchmark === null ? undefined : (1 + point.benchmark) * 100,
      };
    });
    return { days, symbol: body.benchmark ? body.benchmark.symbol : null };
  }

  const line = (days, name) =>
    days.filter((day) => day[name] !== undefined).map((day) => ({ time: day.time, value: day[name] }));

  // Returns the deposits and withdrawals without the first day's, which is the start of the line.
  function flowMarks(days, { grouped }) {
    return days.slice(1).filter((day) => /[1-9]/.test(day.flow)).map((day) => ({
      date: day.time,
      text: `${day.flow.startsWith("-") ? "Withdrawal" : "Deposit"} ${grouped(day.flow.replace("-", ""))}`,
    }));
  }

  // Returns the texts of a day's marks.
  const notesOf = (marks, day) => marks.filter(({ date }) => date === day).map(({ text }) => text);

  // Returns the change between two values in percent.
  const change = (from, to) => (from > 0 ? (to / from - 1) * 100 : undefined);

  // Returns the part of `count` days that a zoom shows, within the data and at least three days wide.
  function zoomed({ from, to }, factor, count) {
    const width = Math.min(Math.max((to - from) * factor, 2), count - 1);
    const middle = (from + to) / 2;
    const first = Math.min(Math.max(middle - width / 2, 0), count - 1 - width);
    return { from: first, to: first + width };
  }

  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  function dayName(date) {
    const [year, month, day] = date.split("-");
    return `${Number(day)} ${MONTHS[Number(month) - 1]} ${year}`;
  }

  const newYork = new Intl.DateTimeFormat("en-CA", {
    timeZone: "America/New_York", year: "numeric", month: "2-digit", day: "2-digit",
  });
  const dayOf = (instant) => newYork.format(new Date(instant));

  if (typeof module === "object") {
    module.exports = {
      priceData, withPrice, closes, performanceData, line, flowMarks, notesOf, change, zoomed, dayName, dayOf,
    };
    return;
  }

  // --- Page ---

  const library = window.LightweightCharts;
  if (!library) return;
  const { grouped, delta } = window.stockyard;
  const fixed = (value, places) => grouped(value.toFixed(places));
  const money = (value) => fixed(value, 2);
  const price = (value) => fixed(value, Math.abs(value) < 1 ? 4 : 2);
  const percent = (value) => `${grouped(value.toFixed(2))}%`;

  // Resolves a color of the style sheet, which may depend on the theme, to `rgb()` for the canvas.
  const probe = document.createElement("span");
  function color(name, opacity = 1) {
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const resolved = getComputedStyle(probe).color;
    probe.remove();
    return opacity === 1 ? resolved : resolved.replace("rgb(", "rgba(").replace(")", `, ${opacity})`);
  }

  function element(name, className, text) {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text) made.textContent = text;
    return made;
  }

  function button(text, act, label) {
    const made = element("button", "chart-tool", text);
    made.type = "button";
    if (label) made.setAttribute("aria-label", label);
    made.addEventListener("click", act);
    return made;
  }

  // Replaces a chart of the server with an interactive one: chart, readout and tools. `days` are the times of the data
  // in order.
  class Frame {
    constructor(host) {
      this.host = host;
      this.days = [];
      this.recolor = [];
      const drawn = host.querySelector("svg[role=img]");
      const said = [...drawn.querySelectorAll(":scope > title, :scope > desc")].map((part) => part.textContent.trim());
      this.frame = element("div", "live-chart");
      this.readout = element("p", "readout");
      this.tools = element("div", "chart-tools");
      this.canvas = element("div", "canvas");
      this.canvas.tabIndex = 0;
      this.canvas.setAttribute("role", "img");
      this.canvas.setAttribute("aria-label", said.join(". "));
      const top = element("div", "chart-head");
      top.append(this.readout, this.tools);
      this.frame.append(top, this.canvas);
      host.insertBefore(this.frame, [...host.children].find((child) => child.contains(drawn)));
      host.classList.add("interactive");
      this.chart = library.createChart(this.canvas, {
        autoSize: true,
        layout: { attributionLogo: false, fontSize: 12, panes: { enableResize: false } },
        grid: { vertLines: { visible: false } },
        rightPriceScale: { borderVisible: false },
        timeScale: { fixLeftEdge: true, fixRightEdge: true, minBarSpacing: 0.01, lockVisibleTimeRangeOnResize: true },
        crosshair: { mode: library.CrosshairMode.Magnet },
        // The wheel scrolls the page, and with Ctrl it zooms. One finger moves along the chart, two fingers zoom.
        handleScroll: { mouseWheel: false, pressedMouseMove: false, horzTouchDrag: true, vertTouchDrag: false },
        handleScale: { mouseWheel: false, pinch: true, axisPressedMouseMove: false },
        localization: { locale: "en-US", dateFormat: "dd MMM yyyy" },
      });
      this.always(() => this.chart.applyOptions({
        layout: {
          background: { type: "solid", color: "transparent" },
          textColor: color("--ink-2"),
          fontFamily: getComputedStyle(document.body).fontFamily,
          panes: { separatorColor: color("--rule"), separatorHoverColor: color("--rule") },
        },
        grid: { horzLines: { color: color("--rule") } },
        timeScale: { borderColor: color("--control") },
        crosshair: {
          vertLine: { color: color("--ink-2"), labelBackgroundColor: color("--control") },
          horzLine: { color: color("--ink-2"), labelBackgroundColor: color("--control") },
        },
      }));
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.recolor.forEach((paint) => paint()));
      this.reset = button("Reset", () => this.fit(), "Show the whole range");
      this.reset.hidden = true;
      // Phones hide these buttons: they have no room for them, and two fingers zoom.
      const zooms = [button("−", () => this.zoom(1.6), "Zoom out"), button("+", () => this.zoom(1 / 1.6), "Zoom in")];
      zooms.forEach((each) => each.classList.add("wide"));
      this.tools.append(...zooms, this.reset);
      // A move without an event comes from the chart itself, for example after a zoom.
      this.chart.subscribeCrosshairMove(({ time, sourceEvent }) => {
        if (this.selecting || !sourceEvent) return;
        this.busy = time !== undefined;
        this.say(time);
      });
      this.canvas.addEventListener("pointerleave", () => {
        if (this.selecting) return;
        this.busy = false;
        this.say();
      });
      this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
        if (range) this.reset.hidden = range.from < 0.5 && range.to > this.days.length - 1.5;
      });
      this.canvas.addEventListener("dblclick", () => this.fit());
      this.canvas.addEventListener("wheel", (event) => {
        if (!event.ctrlKey) return;
        event.preventDefault();
        this.zoom(event.deltaY > 0 ? 1.2 : 1 / 1.2);
      }, { passive: false });
      this.canvas.addEventListener("keydown", (event) => this.key(event));
      this.canvas.addEventListener("blur", () => {
        this.busy = false;
        this.chart.clearCrosshairPosition();
      });
      this.selectByDrag();
    }

    // Calls `paint` now and whenever the theme changes.
    always(paint) {
      paint();
      this.recolor.push(paint);
    }

    add(type, options, paint, pane = 0) {
      const series = this.chart.addSeries(type, options, pane);
      this.always(() => series.applyOptions(paint()));
      return series;
    }

    // Sets the days of the data. The readout keeps the day or range that the user is looking at.
    setDays(days) {
      this.days = days;
      if (!this.busy) this.say();
    }

    fit() {
      this.busy = false;
      this.chart.timeScale().fitContent();
      this.say();
    }

    zoom(factor) {
      const range = this.chart.timeScale().getVisibleLogicalRange();
      if (range) this.chart.timeScale().setVisibleLogicalRange(zoomed(range, factor, this.days.length));
    }

    // Shows the values of the day under the crosshair, or of the last day.
    say(time) {
      const day = time || this.days.at(-1);
      if (day && this.describe) this.readout.replaceChildren(...this.describe(day));
    }

    key(event) {
      const step = { ArrowLeft: -1, ArrowRight: 1, PageDown: -20, PageUp: 20 }[event.key];
      if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      const at = this.days.indexOf(this.keyed ?? this.days.at(-1));
      this.busy = true;
      this.keyed = this.days[Math.min(Math.max(at + step, 0), this.days.length - 1)];
      // Screen readers read the values aloud only if the user moves from day to day.
      this.readout.setAttribute("aria-live", "polite");
      this.chart.setCrosshairPosition(this.valueAt(this.keyed), this.keyed, this.main());
      this.say(this.keyed);
    }

    // A drag with the mouse selects a range, shows how the values changed over it, and zooms to it.
    selectByDrag() {
      const scale = this.chart.timeScale();
      const index = (x) => Math.round(Math.min(Math.max(scale.coordinateToLogical(x) ?? 0, 0), this.days.length - 1));
      const x = (event) => event.clientX - this.canvas.getBoundingClientRect().left;
      const band = element("div", "band");
      let start = null;
      this.canvas.addEventListener("pointerdown", (event) => {
        if (event.pointerType === "touch" || event.button !== 0 || x(event) > scale.width()) return;
        start = x(event);
      });
      addEventListener("pointermove", (event) => {
        if (start === null) return;
        const [left, right] = [start, Math.min(Math.max(x(event), 0), scale.width())].sort((a, b) => a - b);
        this.selecting = right - left > 6;
        if (!this.selecting) return;
        this.canvas.append(band);
        Object.assign(band.style, { left: `${left}px`, width: `${right - left}px` });
        const [from, to] = [this.days[index(left)], this.days[index(right)]];
        this.readout.replaceChildren(
          element("b", "", `${dayName(from)} to ${dayName(to)}`), ...this.describeRange(from, to),
        );
      });
      addEventListener("pointerup", (event) => {
        if (start === null) return;
        const ends = [index(start), index(x(event))].sort((a, b) => a - b);
        const shown = this.readout.cloneNode(true).childNodes;
        const selected = this.selecting;
        [start, this.selecting] = [null, false];
        band.remove();
        if (!selected || ends[0] === ends[1]) return;
        scale.setVisibleLogicalRange({ from: ends[0], to: ends[1] });
        this.readout.replaceChildren(...shown);
        this.busy = true;
      });
    }
  }

  const part = (label, text, tone) => {
    const made = element("span", "", label ? `${label} ` : "");
    made.append(element("span", tone ?? "figure-part", text));
    return made;
  };
  const changed = (label, value) => {
    if (value === undefined) return [];
    const { text, tone } = delta(value.toFixed(2), "%");
    return [part(label, text, tone)];
  };

  async function load(address) {
    const response = await fetch(address, { headers: { Accept: "application/json" } });
    if (!response.ok) throw new Error(String(response.status));
    return response.json();
  }

  const SHAPES = {
    buy: { position: "belowBar", shape: "arrowUp", color: "--ink" },
    sell: { position: "aboveBar", shape: "arrowDown", color: "--ink" },
    dividend: { position: "belowBar", shape: "circle", color: "--accent" },
    other: { position: "aboveBar", shape: "square", color: "--ink-2" },
  };

  function mark(frame, series, marks) {
    const known = marks.filter(({ date }) => date >= frame.days[0] && date <= frame.days.at(-1));
    const layer = library.createSeriesMarkers(series, []);
    frame.always(() => layer.setMarkers(known.map(({ date, kind }) => {
      const { color: name, ...shape } = SHAPES[kind] || SHAPES.other;
      return { time: date, ...shape, color: color(name) };
    })));
    return (day) => notesOf(known, day).map((text) => part("", text));
  }

  // Draws ticks at the lower edge on the days of deposits and withdrawals. Returns a function for a day's notes.
  function markFlows(frame, series, days) {
    const flows = flowMarks(days, { grouped });
    const draw = (target) => target.useBitmapCoordinateSpace((space) => {
      const [width, height] = [Math.max(1, Math.floor(space.horizontalPixelRatio)), 8 * space.verticalPixelRatio];
      space.context.fillStyle = color("--ink-2");
      for (const { date } of flows) {
        const x = frame.chart.timeScale().timeToCoordinate(date);
        if (x === null) continue;
        space.context.fillRect(Math.round(x * space.horizontalPixelRatio), space.bitmapSize.height - height, width, height);
      }
    });
    series.attachPrimitive({ paneViews: () => [{ renderer: () => ({ draw }) }] });
    return (day) => notesOf(flows, day).map((text) => part("", text));
  }

  const area = () => ({
    lineColor: color("--accent"), topColor: color("--accent", 0.16), bottomColor: color("--accent", 0),
  });
  const plain = { lineWidth: 2, priceLineVisible: false };
  const custom = (formatter, minMove = 0.01) => ({ priceFormat: { type: "custom", formatter, minMove } });

  // A control with several states; the chosen one is stored.
  function choice(frame, name, labels, act) {
    const made = labels.map(([value, text]) => button(text, () => choose(value)));
    const group = element("div", "chart-choice");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", name);
    group.append(...made);
    frame.tools.prepend(group);
    function choose(value) {
      labels.forEach(([each], at) => made[at].setAttribute("aria-pressed", String(each === value)));
      try { localStorage.setItem(`chart-${name}`, value); } catch { /* storage is off: not remembered */ }
      act(value);
    }
    let before = null;
    try { before = localStorage.getItem(`chart-${name}`); } catch { /* storage is off */ }
    choose(labels.some(([value]) => value === before) ? before : labels[0][0]);
  }

  async function priceChart(host) {
    const { items } = await load(host.dataset.source);
    const latest = host.dataset.latest ? JSON.parse(host.dataset.latest) : null;
    let bars = priceData(items, latest);
    if (bars.length < 2) return;
    const frame = new Frame(host);
    const of = (day) => bars.find(({ time }) => time === day);
    const volume = frame.add(library.HistogramSeries, {
      priceScaleId: "volume", priceLineVisible: false, lastValueVisible: false, priceFormat: { type: "volume" },
    }, () => ({ color: color("--ink-2", 0.35) }));
    frame.chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    const candles = frame.add(library.CandlestickSeries, { ...custom(price, 0.0001), priceLineVisible: false }, () => ({
      upColor: color("--up"), borderUpColor: color("--up"), wickUpColor: color("--up"),
      downColor: color("--down"), borderDownColor: color("--down"), wickDownColor: color("--down"),
    }));
    const closing = frame.add(library.AreaSeries, { ...plain, ...custom(price, 0.0001) }, area);
    // Given copies, because the library changes the objects.
    const put = () => {
      volume.setData(bars.filter((bar) => bar.volume).map((bar) => ({ time: bar.time, value: bar.volume })));
      candles.setData(bars.map((bar) => ({ ...bar })));
      closing.setData(closes(bars));
      frame.setDays(bars.map(({ time }) => time));
    };
    let shown = closing;
    frame.main = () => shown;
    frame.valueAt = (day) => of(day).close;
    let notes = () => [];
    frame.describe = (day) => {
      const bar = of(day);
      if (!bar) return [];
      const all = [["open", bar.open], ["high", bar.high], ["low", bar.low], ["close", bar.close]];
      const figures = shown === candles ? all : [["", bar.close]];
      return [
        element("b", "", dayName(day)), ...figures.map(([label, value]) => part(label, price(value))),
        ...(bar.volume ? [part("volume", grouped(String(bar.volume)))] : []), ...notes(day),
      ];
    };
    frame.describeRange = (from, to) => changed("", change(of(from).close, of(to).close));
    put();
    const average = Number(host.dataset.average);
    const marks = host.dataset.marks ? JSON.parse(host.dataset.marks) : [];
    const noted = [candles, closing].map((series) => {
      if (average > 0) {
        const level = series.createPriceLine({ price: average, lineWidth: 1, lineStyle: 2 });
        frame.always(() => level.applyOptions({ color: color("--control"), axisLabelColor: color("--control") }));
      }
      return mark(frame, series, marks);
    });
    notes = noted[0];
    choice(frame, "price", [["line", "Line"], ["candles", "Candles"]], (kind) => {
      shown = kind === "candles" ? candles : closing;
      candles.applyOptions({ visible: shown === candles });
      closing.applyOptions({ visible: shown === closing });
      frame.say();
    });
    frame.fit();
    document.addEventListener("stockyard:quote", ({ detail }) => {
      if (detail.symbol !== host.dataset.stock) return;
      const next = withPrice(bars, { date: dayOf(detail.as_of), price: detail.price });
      if (next === bars) return;
      bars = next;
      candles.update({ ...bars.at(-1) });
      closing.update(closes(bars).at(-1));
      frame.setDays(bars.map(({ time }) => time));
    });
  }

  // Draws the growth of 100 with a benchmark and the marks of flows. Returns the main line and a function for a day's
  // notes.
  function growthLines(frame, { days, symbol }) {
    const growth = frame.add(library.LineSeries, { ...plain, ...custom(money) }, () => ({ color: color("--accent") }));
    growth.setData(line(days, "growth"));
    if (symbol) {
      const compared = frame.add(library.LineSeries, { ...plain, lineWidth: 1, lineStyle: 2, ...custom(money) },
        () => ({ color: color("--ink-2") }));
      compared.setData(line(days, "benchmark"));
    }
    return { growth, notes: markFlows(frame, growth, days) };
  }

  const describeGrowth = ({ days, symbol }, notes, withDrawdown) => (day) => {
    const point = days.find(({ time }) => time === day);
    if (!point) return [];
    return [
      element("b", "", dayName(day)), part("", money(point.growth)),
      ...(point.benchmark === undefined ? [] : [part(symbol, money(point.benchmark))]),
      ...(withDrawdown ? [part("drawdown", percent(point.drawdown))] : []), ...notes(day),
    ];
  };

  const describeGrowthRange = (days, symbol) => (from, to) => {
    const [first, last] = [from, to].map((day) => days.find(({ time }) => time === day));
    return [...changed("", change(first.growth, last.growth)), ...changed(symbol, change(first.benchmark, last.benchmark))];
  };

  async function growthChart(host) {
    const data = performanceData(await load(host.dataset.source));
    const { days, symbol } = data;
    if (days.length < 2) return;
    const frame = new Frame(host);
    frame.setDays(days.map(({ time }) => time));
    const { growth, notes } = growthLines(frame, data);
    const drawdown = frame.add(library.AreaSeries, { ...plain, lineWidth: 1, ...custom(percent), invertFilledArea: true }, () => ({
      lineColor: color("--down"), topColor: color("--down", 0.16), bottomColor: color("--down", 0.16),
    }), 1);
    drawdown.setData(line(days, "drawdown"));
    drawdown.priceScale().applyOptions({ scaleMargins: { top: 0.04, bottom: 0.1 } });
    const [upper, lower] = frame.chart.panes();
    upper.setStretchFactor(3);
    lower.setStretchFactor(1);
    frame.main = () => growth;
    frame.valueAt = (day) => days.find(({ time }) => time === day).growth;
    frame.describe = describeGrowth(data, notes, true);
    frame.describeRange = describeGrowthRange(days, symbol);
    frame.fit();
  }

  // Draws the value of a portfolio in money, or its growth compared with a benchmark.
  async function valueChart(host) {
    const { days } = performanceData(await load(host.dataset.source));
    if (days.length < 2) return;
    const frame = new Frame(host);
    frame.setDays(days.map(({ time }) => time));
    let series = [];
    let live = null;
    const clear = () => {
      series.forEach((each) => frame.chart.removeSeries(each));
      frame.recolor.length = 1;
      [series, live] = [[], null];
    };
    const showValue = () => {
      clear();
      const value = frame.add(library.AreaSeries, { ...plain, ...custom(money) }, area);
      value.setData(line(days, "value"));
      const notes = markFlows(frame, value, days);
      [series, live] = [[value], value];
      frame.main = () => value;
      frame.valueAt = (day) => days.find(({ time }) => time === day).value;
      frame.describe = (day) => {
        const point = days.find(({ time }) => time === day);
        return point ? [element("b", "", dayName(day)), part("", money(point.value)), ...notes(day)] : [];
      };
      // The return between two days, without the effect of deposits.
      frame.describeRange = (from, to) => {
        const [first, last] = [from, to].map((day) => days.find(({ time }) => time === day));
        return changed("return", change(first.growth, last.growth));
      };
      frame.fit();
    };
    const showComparison = async () => {
      const symbol = host.dataset.benchmark;
      let compared;
      try {
        compared = performanceData(await load(`${host.dataset.source}&benchmark=${encodeURIComponent(symbol)}`));
      } catch {
        frame.readout.textContent = `There are no prices of ${symbol} to compare with at the moment.`;
        return;
      }
      clear();
      const { growth, notes } = growthLines(frame, compared);
      series = frame.chart.panes()[0].getSeries().slice();
      frame.main = () => growth;
      frame.valueAt = (day) => compared.days.find(({ time }) => time === day).growth;
      frame.describe = describeGrowth(compared, notes, false);
      frame.describeRange = describeGrowthRange(compared.days, symbol);
      frame.fit();
    };
    if (host.dataset.benchmark) {
      choice(frame, "value", [["money", "Value"], ["benchmark", `Compare with ${host.dataset.benchmark}`]], (kind) =>
        kind === "benchmark" ? showComparison() : showValue());
    } else showValue();
    document.addEventListener("stockyard:valuation", ({ detail }) => {
      if (!live || String(detail.portfolio_id) !== host.dataset.portfolio) return;
      const last = days.at(-1);
      if (dayOf(detail.valued_at) !== last.time) return;
      last.value = Number(detail.total_value);
      live.update({ time: last.time, value: last.value });
      if (!frame.busy) frame.say();
    });
  }

  const KINDS = { price: priceChart, growth: growthChart, value: valueChart };
  for (const host of document.querySelectorAll("[data-chart]")) {
    // Without its data, the server's chart stays.
    KINDS[host.dataset.chart]?.(host).catch(() => {});
  }
})();
