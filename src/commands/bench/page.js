// The script of the page that bench --report writes: tables and charts from the data in the page.

const { machine, settings, names, tables } = JSON.parse(document.getElementById("data").textContent);
const main = document.querySelector("main");
const PERCENTILES = [
  ["50", "p50"],
  ["90", "p90"],
  ["99", "p99"],
  ["99.9", "p999"],
  ["99.99", "p9999"],
  ["max", "max"],
];
const CHART_HEIGHT = 280;

/** An element with attributes and children. */
function element(tag, attributes = {}, ...children) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
}

/** A colour of the style sheet as a canvas takes it. */
function colour(name) {
  const probe = element("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

// ---- figures as texts ----------------------------------------------------------------------------------------------

/** Three digits, or all that are left of the point. */
const digits = (value) =>
  value >= 100 ? Math.round(value).toLocaleString("en-US") : `${+value.toPrecision(3)}`;

/** A value in the largest of some units that leaves at least 1. */
function scaled(value, units) {
  const [unit, size] = units.find(([, size]) => value >= size) ?? units.at(-1);
  return `${digits(value / size)} ${unit}`.trim();
}

const timeText = (us) =>
  scaled(us, [
    ["s", 1e6],
    ["ms", 1e3],
    ["µs", 1],
  ]);

const rateText = (gibibytes) => `${digits(gibibytes)} GiB/s`;

/** From MiB, in one unit: the lines of a chart stand at its powers of ten. */
function inGibibytes(spread) {
  return spread && { median: spread.median / 1024, min: spread.min / 1024, max: spread.max / 1024 };
}

const countText = (value) =>
  scaled(value, [
    ["M", 1e6],
    ["k", 1e3],
    ["", 1],
  ]);

// ---- tables --------------------------------------------------------------------------------------------------------

function spreadCell(spread, text) {
  if (spread === null) return element("td", {}, "–");
  const percent = spread.median > 0 ? (50 * (spread.max - spread.min)) / spread.median : 0;
  const range = `${text(spread.min)} to ${text(spread.max)}`;
  return element(
    "td",
    { title: range },
    text(spread.median),
    element("span", { className: "spread" }, ` ±${percent.toFixed(0)} %`),
  );
}

const cell = (spread, text) => element("td", {}, spread === null ? "–" : text(spread.median));

function tableOf(measurements) {
  const isRoundTrip = measurements[0].latency_us !== null;
  const figures = isRoundTrip
    ? PERCENTILES.map(([name]) => (name === "max" ? name : `p${name}`))
    : ["bytes/s"];
  const roles = measurements[0].processes.map(({ role }) => role).join(" + ");
  const head = ["size", "over", ...figures, "frames/s", `CPU ${roles}`, "memory"];
  const rows = measurements.map((measurement, i) => {
    const { frames_per_second, latency_us, processes, size, throughput_mbps, transport } = measurement;
    const dot = element("span", { className: "dot" });
    dot.style.background = `var(--${transport})`;
    const cells = isRoundTrip
      ? PERCENTILES.map(([, key]) => (key === "p50" ? spreadCell : cell)(latency_us?.[key] ?? null, timeText))
      : [spreadCell(inGibibytes(throughput_mbps), rateText)];
    const both = (key, text) => processes.map((process) => text(process[key]?.median ?? 0)).join(" + ");
    const usage = [
      `${both("cpu_percent", (percent) => Math.round(percent))} %`,
      `${both("peak_memory_bytes", (bytes) => Math.round(bytes / 2 ** 20))} MiB`,
    ];
    return element(
      "tr",
      {},
      element("td", {}, measurements[i - 1]?.size === size ? "" : size),
      element("td", {}, dot, names[transport]),
      ...cells,
      cell(frames_per_second, digits),
      ...usage.map((text) => element("td", {}, text)),
    );
  });
  const titles = element("tr", {}, ...head.map((title) => element("th", {}, title)));
  const table = element("table", {}, element("thead", {}, titles), element("tbody", {}, ...rows));
  return element("div", { className: "scroll" }, table);
}

// ---- charts --------------------------------------------------------------------------------------------------------

/** Where the lines of a logarithmic axis stand; between them there would be too many. */
function powersOfTen(_chart, _axis, min, max) {
  const [first, last] = [Math.ceil(Math.log10(min)), Math.floor(Math.log10(max))];
  return Array.from({ length: last - first + 1 }, (_, i) => 10 ** (first + i));
}

/** Draws lines over named places; each line has values, and may have a range around them. */
function drawChart(parent, places, lines, text) {
  const grid = { stroke: colour("line"), width: 1 };
  const data = [places.map((_, i) => i)];
  const series = [{ label: "at", value: (_, i) => (i == null ? "" : places[i]) }];
  const bands = [];
  for (const { label, stroke, dash, values, low, high } of lines) {
    data.push(values);
    series.push({
      label,
      stroke,
      dash,
      width: 2,
      points: { show: true, size: 6 },
      value: (_, value) => (value == null ? "" : text(value)),
    });
    if (low === undefined) continue;
    const at = series.length;
    data.push(high, low);
    const hidden = { stroke: "transparent", points: { show: false }, label: "" };
    series.push(hidden, hidden);
    bands.push({ series: [at, at + 1], fill: stroke.replace("rgb(", "rgba(").replace(")", ", 0.14)") });
  }
  const axis = { stroke: colour("faint"), grid, ticks: grid, font: "12px system-ui, sans-serif" };
  const options = {
    width: parent.clientWidth,
    height: CHART_HEIGHT,
    scales: { x: { time: false, range: [-0.25, places.length - 0.75] }, y: { distr: 3, log: 10 } },
    axes: [
      { ...axis, splits: () => data[0], values: (_, splits) => splits.map((i) => places[i] ?? "") },
      { ...axis, size: 76, splits: powersOfTen, values: (_, splits) => splits.map(text) },
    ],
    series,
    bands,
  };
  const chart = new uPlot(options, data, parent);
  // What has no label has no entry in the legend.
  for (const [i, row] of chart.root.querySelectorAll(".u-series").entries()) {
    if (i > 0 && series[i].label === "") row.style.display = "none";
  }
  new ResizeObserver(() => chart.setSize({ width: parent.clientWidth, height: CHART_HEIGHT })).observe(
    parent,
  );
}

function figureOf(charts, caption, ...more) {
  const place = element("div");
  charts.append(element("figure", {}, element("figcaption", {}, caption, ...more), place));
  return place;
}

/** A figure of each transport by the size of the frames. */
function linesBySize(measurements, sizes, transports, figure, style = {}) {
  return transports.map((transport) => {
    const spreads = sizes.map(
      (size) => figure(measurements.find((one) => one.size === size && one.transport === transport)) ?? null,
    );
    const all = (key) => spreads.map((spread) => spread?.[key] || null);
    const line = { label: names[transport], stroke: colour(transport), values: all("median") };
    return style.dash === undefined ? { ...line, low: all("min"), high: all("max") } : { ...line, ...style };
  });
}

function drawThroughput(charts, measurements, sizes, transports) {
  const place = figureOf(charts, "bytes a second by size");
  drawChart(
    place,
    sizes,
    linesBySize(measurements, sizes, transports, (one) => inGibibytes(one?.throughput_mbps)),
    rateText,
  );
  const frames = figureOf(charts, "frames a second by size");
  const lines = linesBySize(measurements, sizes, transports, (one) => one?.frames_per_second);
  drawChart(frames, sizes, lines, countText);
}

function drawLatencies(charts, measurements, sizes, transports) {
  if (sizes.length > 1) {
    const place = figureOf(charts, "p50 and, dashed, p99 by size");
    const of = (key) => (one) => one?.latency_us?.[key];
    const lines = [
      ...linesBySize(measurements, sizes, transports, of("p50")),
      ...linesBySize(measurements, sizes, transports, of("p99"), { dash: [6, 4], label: "" }),
    ];
    drawChart(place, sizes, lines, timeText);
  }
  const select = element("select", {}, ...sizes.map((size) => element("option", {}, size)));
  const place = figureOf(charts, "percentiles", select);
  const draw = () => {
    place.replaceChildren();
    const lines = measurements
      .filter(({ size }) => size === select.value)
      .map(({ latency_us, transport }) => {
        const all = (key) => PERCENTILES.map(([, name]) => latency_us?.[name]?.[key] || null);
        const range = { low: all("min"), high: all("max") };
        return { label: names[transport], stroke: colour(transport), values: all("median"), ...range };
      });
    const places = PERCENTILES.map(([name]) => (name === "max" ? name : `${name} %`));
    drawChart(place, places, lines, timeText);
  };
  select.onchange = draw;
  draw();
}

function draw() {
  main.replaceChildren(element("p", {}, machine), element("p", {}, `${settings}; ranges are shaded.`));
  for (const { title, meaning, measurements } of tables) {
    const sizes = [...new Set(measurements.map(({ size }) => size))];
    const transports = [...new Set(measurements.map(({ transport }) => transport))];
    const charts = element("div", { className: "charts" });
    main.append(element("h2", {}, title), element("p", {}, meaning), charts, tableOf(measurements));
    if (measurements[0].latency_us !== null) drawLatencies(charts, measurements, sizes, transports);
    else if (sizes.length > 1) drawThroughput(charts, measurements, sizes, transports);
  }
}

draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
