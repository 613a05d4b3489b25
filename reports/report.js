// Draws the figures in the theme's colours, redraws them when the theme or the paper changes, and
// sorts tables. No network, no storage.
"use strict";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// The theme's colours as Plotly paths, for every axis and colour bar the figure has.
function theme(figure, isPrint) {
  const ink = isPrint ? "#111" : colour("--ink");
  const soft = isPrint ? "#444" : colour("--soft");
  const grid = isPrint ? "#e2e2e2" : colour("--grid");
  const layout = {
    "font.color": ink,
    "font.family": getComputedStyle(document.body).fontFamily,
    "font.size": 12.5,
    "hoverlabel.bgcolor": isPrint ? "#fff" : colour("--card"),
    "hoverlabel.bordercolor": soft,
    "hoverlabel.font.color": ink,
    "modebar.bgcolor": "rgba(0,0,0,0)",
    "modebar.color": soft,
    "modebar.activecolor": ink,
    "legend.bgcolor": "rgba(0,0,0,0)",
  };
  for (const axis of ["xaxis", "yaxis", "yaxis2"]) {
    if (!figure.layout[axis]) continue;
    Object.assign(layout, {
      [`${axis}.gridcolor`]: grid, [`${axis}.linecolor`]: soft, [`${axis}.tickfont.color`]: soft,
      [`${axis}.title.font.color`]: soft, [`${axis}.automargin`]: true,
    });
  }
  (figure.layout.annotations || []).forEach((_, index) => {
    layout[`annotations[${index}].font.color`] = soft;
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

const drawn = [];
for (const source of document.querySelectorAll("script[data-figure]")) {
  const figure = JSON.parse(source.textContent);
  const plot = document.getElementById(source.dataset.figure);
  const config = {
    responsive: true, displaylogo: false, displayModeBar: "hover",
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]], // none that uploads
    toImageButtonOptions: { filename: source.dataset.figure, scale: 2 },
  };
  Plotly.newPlot(plot, figure.data, withPaths(figure.layout, theme(figure, false)), config);
  drawn.push({ plot, figure });
}

const repaint = (isPrint) => {
  for (const { plot, figure } of drawn) {
    const size = isPrint ? { width: plot.clientWidth } : { width: null, autosize: true };
    Plotly.relayout(plot, { ...theme(figure, isPrint), ...size });
  }
};
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => repaint(false));
matchMedia("print").addEventListener("change", (print) => repaint(print.matches));

for (const button of document.querySelectorAll("table.sortable th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const body = head.closest("table").tBodies[0];
    const column = head.cellIndex;
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
    const key = (row) => row.cells[column].dataset.key;
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)];
      const both = [Number(x), Number(y)];
      return both.some(Number.isNaN) ? x.localeCompare(y) : both[0] - both[1];
    };
    body.append(...[...body.rows].sort((a, b) => sign * compare(a, b)));
  });
}

document.documentElement.dataset.drawn = String(drawn.length);
