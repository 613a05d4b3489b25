// Unpacks and draws the figures in the theme's colours, draws them again when the theme or the
// paper changes, and sorts tables. No network, no storage.
"use strict";

const root = document.documentElement;
const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
// CSS pixels on A4 landscape, by figures a row.
const PRINT_WIDTH = { 1: 1020, 2: 500, 3: 325 };
const PRINT_LETTER = 6.2;
const PRINT_LEGEND_MARK = 46; // and what stands between two names
const LEGEND_ROW = 29; // CSS pixels a figure's height allows for, on the screen

// The theme's colours as Plotly paths, for every axis and colour bar the figure has.
function theme(figure, isPrint) {
  const ink = isPrint ? "#111" : colour("--ink");
  const soft = isPrint ? "#444" : colour("--soft");
  const grid = isPrint ? "#e2e2e2" : colour("--grid");
  const layout = {
    "font.color": ink,
    "font.family": getComputedStyle(document.body).fontFamily,
    "font.size": isPrint ? 10.5 : 12.5,
    "hoverlabel.bgcolor": isPrint ? "#fff" : colour("--card"),
    "hoverlabel.bordercolor": soft,
    "hoverlabel.font.color": ink,
    "modebar.bgcolor": "rgba(0,0,0,0)",
    "modebar.color": soft,
    "modebar.activecolor": ink,
    "legend.bgcolor": "rgba(0,0,0,0)",
  };
  const axisTitle = isPrint ? 10.5 : 14;
  for (const axis of Object.keys(figure.layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
    Object.assign(layout, {
      [`${axis}.gridcolor`]: grid, [`${axis}.linecolor`]: soft, [`${axis}.tickfont.color`]: soft,
      [`${axis}.title.font.color`]: soft, [`${axis}.title.font.size`]: axisTitle, [`${axis}.automargin`]: true,
    });
    if (axis.startsWith("y")) layout[`${axis}.title.standoff`] = 10; // else it touches the numbers
  }
  (figure.layout.annotations || []).forEach((each, index) => {
    layout[`annotations[${index}].font.color`] = soft;
    if (each.bgcolor) layout[`annotations[${index}].bgcolor`] = isPrint ? "#fff" : colour("--card");
  });
  return layout;
}

// Set "a.b[0].c" style paths on a plain object.
function withPaths(layout, paths) {
  const made = structuredClone(layout);
  for (const [path, value] of Object.entries(paths)) {
    const steps = path.replace(/\[(\d+)\]/g, ".$1").split(".");
    const last = steps.pop();
    steps.reduce((node, step) => (node[step] ??= {}), made)[last] = value;
  }
  return made;
}

async function unpacked(id) {
  const packed = document.getElementById(id);
  const bytes = Uint8Array.from(atob(packed.textContent), (each) => each.charCodeAt(0));
  packed.remove();
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

const drawn = [];

async function drawAll() {
  const [source, figures] = await Promise.all([unpacked("plotly"), unpacked("figures")]);
  const library = document.createElement("script");
  library.textContent = source;
  document.head.append(library); // runs at once
  for (const [id, figure] of Object.entries(JSON.parse(figures))) {
    const plot = document.getElementById(id);
    const config = {
      responsive: true, displaylogo: false, displayModeBar: "hover",
      modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]], // none that uploads
      toImageButtonOptions: { filename: id, scale: 2 },
    };
    await Plotly.newPlot(plot, figure.data, withPaths(figure.layout, theme(figure, false)), config);
    const paper = paperSize(plot, figure);
    await makeRoom(plot, figure);
    drawn.push({ plot, figure, paper });
  }
  if (matchMedia("print").matches) repaint(true);
}

// A legend of several rows takes its room from the page, not from the figure.
async function makeRoom(plot, figure) {
  const legend = plot.querySelector(".legend");
  const more = legend ? Math.ceil(legend.getBoundingClientRect().height) - LEGEND_ROW : 0;
  if (more <= 0) return;
  figure.layout.height += more;
  plot.style.minHeight = `${figure.layout.height}px`;
  await Plotly.relayout(plot, { height: figure.layout.height, autosize: true });
}

// On paper figures have the width of their column, a height that lets two rows stand on a page,
// and room for the legend from the start. All of it is settled before anything is printed: a
// browser counts the pages at once, and waits for no second pass.
function paperSize(plot, figure) {
  const width = PRINT_WIDTH[plot.closest(".figures").className.match(/n(\d)/)[1]];
  const names = [...plot.querySelectorAll(".legendtext")].map((each) => each.textContent.length);
  const entry = PRINT_LEGEND_MARK + PRINT_LETTER * Math.max(0, ...names);
  const rows = Math.ceil(names.length / Math.max(1, Math.floor(width / entry)));
  const full = figure.layout.height;
  const isList = plot.id.startsWith("ratios"); // a line of text a row, which cannot shrink
  const hasPanels = figure.layout.yaxis.domain?.[0] > 0; // each with a title beside it
  const drawing = hasPanels ? 0.72 * full : Math.min(Math.max(160, 0.6 * full), 235);
  const height = (isList ? Math.min(full, 560) : drawing) + 17 * Math.max(0, rows - 1);
  plot.style.setProperty("--paper-height", `${height}px`);
  return { width, height, autosize: false, "margin.t": 18 + 17 * rows };
}

// What is folded is unfolded on paper.
function repaint(isPrint) {
  for (const fold of document.querySelectorAll(isPrint ? "details:not([open])" : "details.opened")) {
    fold.open = isPrint;
    fold.classList.toggle("opened", isPrint);
  }
  for (const { plot, figure, paper } of drawn) {
    const { height, margin } = figure.layout;
    const size = isPrint
      ? paper
      : { width: null, height, autosize: true, "margin.t": margin.t };
    Plotly.relayout(plot, { ...theme(figure, isPrint), ...size });
  }
}
// A figure as a data: address of a PNG, for `fsbench report --png`.
function pictureOf(id, width, scale) {
  const { figure } = drawn.find(({ plot }) => plot.id === id);
  const paths = { ...theme(figure, false), paper_bgcolor: colour("--card"), width };
  const layout = withPaths(figure.layout, paths);
  const size = { format: "png", width, height: layout.height, scale };
  return Plotly.toImage({ data: figure.data, layout }, size);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => repaint(false));
matchMedia("print").addEventListener("change", (print) => repaint(print.matches));

function sortBy(head) {
  const body = head.closest("table").tBodies[0];
  const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
  const key = (row) => row.cells[head.cellIndex].dataset.key;
  const compare = (a, b) => {
    const [x, y] = [key(a), key(b)];
    const both = [Number(x), Number(y)];
    return both.some(Number.isNaN) ? x.localeCompare(y) : both[0] - both[1];
  };
  body.append(...[...body.rows].sort((a, b) => sign * compare(a, b)));
}
for (const button of document.querySelectorAll("table.sortable th button")) {
  button.addEventListener("click", () => sortBy(button.closest("th")));
}

drawAll().then(
  () => { root.dataset.drawn = String(drawn.length); },
  (error) => {
    for (const plot of document.querySelectorAll(".plot:empty")) {
      plot.textContent = "This browser could not draw the figures; the tables hold the numbers.";
    }
    console.error(error);
  },
);
