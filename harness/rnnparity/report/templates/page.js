// The page: tables that sort, filter and turn pages, and the pictures. What they show is made in
// summary.py and times.py; `tables` names the columns.
const data = JSON.parse(document.getElementById("data").textContent);
const specs = JSON.parse(document.getElementById("specs").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
const PAGE = 25;

function seconds(value) {
  for (const [unit, size] of [["s", 1], ["ms", 1e-3], ["us", 1e-6]]) {
    if (value >= size) return `${(value / size).toPrecision(3)} ${unit}`;
  }
  return `${(value * 1e9).toPrecision(3)} ns`;
}
const plain = (value) => (value === null || value === undefined || value === "" ? "-" : String(value));
const digits = (n) => (value) => typeof value === "number" ? Number(value.toPrecision(n)).toString() : plain(value);
const collator = new Intl.Collator(undefined, { numeric: true });
const order = (value) => (value === "not finite" ? Infinity : value);
const time = (value) => (value === null ? "-" : seconds(value));
const percent = (value) => (value === null ? "-" : `${digits(2)(100 * value)}%`);
const bytes = (value) => {
  if (value === null || value === 0) return value === null ? "-" : "0";
  const [unit, size] = value < 1e6 ? ["kB", 1e3] : value < 1e9 ? ["MB", 1e6] : ["GB", 1e9];
  return `${digits(3)(value / size)} ${unit}`;
};

const tables = {
  checks: {
    columns: [
      ["implementation", "implementation", plain], ["device", "device", plain],
      ["dtype", "dtype", plain], ["case", "case", plain], ["verdict", "verdict", plain],
      ["z", "largest error, units", digits(3), true], ["error", "absolute, of output", digits(2), true],
      ["reason", "reason", plain],
    ],
    filters: ["implementation", "cell", "device", "dtype", "verdict"],
  },
  timings: {
    columns: [
      ["implementation", "implementation", plain], ["device", "device", plain],
      ["size", "T,B,I,H", plain], ["mode", "mode", plain], ["dtype", "dtype", plain], ["threads", "threads", plain, true],
      ["median", "median", time, true],
      ["ratio", "speed-up", digits(3), true], ["interval", "95% interval", plain, true], ["first_call", "first call", time, true],
      ["prepare", "prepare", time, true], ["paid_after", "paid after calls", plain, true],
      ["with_transfer", "with transfer", time, true], ["memory", "memory", bytes, true], ["gflops", "GFLOP/s", digits(3), true],
      ["of_product", "of best product", percent, true], ["gbytes", "GB/s", digits(3), true], ["of_copy", "of best copy", percent, true],
      ["fixed", "fixed", time, true], ["per_step", "per step", time, true],
    ],
    filters: ["implementation", "cell", "size", "mode", "device", "dtype", "threads", "role"],
  },
};

const long = new Set(["implementation", "case", "reason"]);
for (const row of data.timings ?? []) {
  row.interval = row.low === null ? null : `${digits(3)(row.low)} to ${digits(3)(row.high)}`;
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function build(holder) {
  const name = holder.dataset.table;
  const rows = data[name];
  const columns = tables[name].columns.filter(([key]) => rows.some((row) => plain(row[key]) !== "-"));
  const filters = tables[name].filters.filter((key) => new Set(rows.map((row) => row[key])).size > 1);
  let sorted = null, up = true, page = 0, size = PAGE;

  const search = element("input", { type: "search", id: `${name}-search` });
  const controls = element("div", { class: "controls" }, element("label", {}, "search", search));
  const chosen = {};
  for (const key of filters) {
    const values = [...new Set(rows.map((row) => row[key]))].filter((v) => v !== "");
    const select = element("select", {}, element("option", { value: "" }, "all"));
    for (const value of values) {
      const option = element("option", {}, value);
      option.value = value;
      select.append(option);
    }
    select.addEventListener("change", () => { page = 0; draw(); tell(); });
    chosen[key] = select;
    controls.append(element("label", {}, key, select));
  }
  search.addEventListener("input", () => { page = 0; draw(); });

  const head = element("tr");
  const headers = columns.map(([key, label, , number]) => {
    const button = element("button", { type: "button" }, label);
    const header = element("th", { scope: "col", class: number ? "number" : "" }, button);
    button.addEventListener("click", () => {
      up = sorted === key ? !up : !number;
      sorted = key;
      page = 0;
      draw();
    });
    head.append(header);
    return header;
  });
  const body = element("tbody");
  const count = element("p", { class: "count", "aria-live": "polite" });
  const before = element("button", { type: "button" }, "previous");
  const after = element("button", { type: "button" }, "next");
  before.addEventListener("click", () => { page -= 1; draw(); });
  after.addEventListener("click", () => { page += 1; draw(); });
  const table = element("table", { class: "first" }, element("thead", {}, head), body);
  holder.append(
    controls, count,
    element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Table of ${name}` }, table),
    element("div", { class: "controls pager" }, before, after),
  );

  function shown() {
    const text = search.value.toLowerCase();
    const kept = rows.filter((row) =>
      filters.every((key) => !chosen[key].value || String(row[key]) === chosen[key].value) &&
      (!text || columns.some(([key]) => String(row[key] ?? "").toLowerCase().includes(text))));
    if (!sorted) return kept;
    const sign = up ? 1 : -1;
    return kept.toSorted((a, b) => {
      const key = sorted === "interval" ? "low" : sorted;
      const [x, y] = [order(a[key]), order(b[key])];
      if (x === y) return 0;
      if (x === null || y === null) return (x === null) - (y === null);
      if (typeof x === "number" && typeof y === "number") return sign * (x < y ? -1 : 1);
      return sign * collator.compare(String(x), String(y));
    });
  }

  function draw() {
    const found = shown();
    const last = Math.max(0, Math.ceil(found.length / size) - 1);
    page = Math.min(page, last);
    body.replaceChildren(...found.slice(page * size, (page + 1) * size).map((row) => {
      const line = element("tr");
      for (const [key, , show, number] of columns) {
        const name = key === "implementation" ? "th" : "td";
        const cell = element(name, { class: number ? "number" : long.has(key) ? "text long" : "text" });
        if (name === "th") cell.setAttribute("scope", "row");
        cell.append(element("bdi", {}, show(row[key] ?? null)));
        if (key === "verdict") cell.className = row[key];
        line.append(cell);
      }
      return line;
    }));
    columns.forEach(([key], i) => {
      headers[i].setAttribute("aria-sort", key !== sorted ? "none" : up ? "ascending" : "descending");
    });
    const from = found.length ? page * size + 1 : 0;
    count.textContent = `${from} to ${Math.min(found.length, (page + 1) * size)} of ${found.length}` +
      (found.length === rows.length ? "" : ` (${rows.length} without filter)`);
    before.disabled = page === 0;
    after.disabled = page === last;
  }
  // A view is in the address, so that it can be linked to: #checks?implementation=mine&verdict=fail
  function tell() {
    const told = new URLSearchParams();
    for (const key of filters) if (chosen[key].value) told.set(key, chosen[key].value);
    history.replaceState(null, "", `#${name}${told.size ? `?${told}` : ""}`);
  }
  function follow() {
    const [part, query] = location.hash.slice(1).split("?");
    const folded = holder.closest("details");
    if (part !== name || !folded) return;
    const told = new URLSearchParams(query);
    if (query !== undefined) {
      for (const key of filters) chosen[key].value = told.get(key) ?? "";
      page = 0;
      draw();
    }
    folded.open = true;
    folded.scrollIntoView();
  }
  addEventListener("hashchange", follow);
  addEventListener("beforeprint", () => { size = Math.max(1, rows.length); draw(); });
  addEventListener("afterprint", () => { size = PAGE; draw(); });
  draw();
  follow();
}

async function draw() {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--ink").trim();
  const line = style.getPropertyValue("--line").trim();
  const config = {
    background: "transparent",
    axis: { labelColor: ink, titleColor: ink, gridColor: line, domainColor: line, tickColor: line },
    legend: { labelColor: ink, titleColor: ink },
    header: { labelColor: ink, titleColor: ink },
    view: { stroke: line },
    rule: { color: ink },
    range: { category: data.palettes[dark.matches ? "dark" : "light"] },
  };
  for (const holder of document.querySelectorAll("[data-chart]")) {
    const spec = structuredClone(specs[holder.dataset.chart]);
    const inner = spec.spec;
    if (inner && typeof inner.width === "number") inner.width = Math.min(inner.width, holder.clientWidth - 170);
    const legend = { ...config.legend, columns: Math.max(1, Math.floor(holder.clientWidth / 170)) };
    await window.vegaEmbed(holder, spec, { actions: false, renderer: "svg", config: { ...config, legend } });
  }
  document.documentElement.dataset.charts = "drawn";
}

document.querySelectorAll("[data-table]").forEach(build);
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
if (document.querySelector("[data-chart]")) {
  await draw();
  dark.addEventListener("change", draw);
} else {
  document.documentElement.dataset.charts = "none";
}
