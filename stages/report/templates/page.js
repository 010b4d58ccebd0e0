"use strict";

const GAP = 24;         // Pixels between panels, as in the specifications.

const views = new Map();

/** Put as many panels in a row as there is room for, and make each as wide as possible. */
function laidOut(specification, width, { panelWidth, axisRoom }) {
  const most = specification.columns ?? specification.concat.length;
  const columns = Math.max(1, Math.min(most, Math.floor((width + GAP) / (Number(panelWidth) + GAP))));
  const wide = Math.floor((width - GAP * (columns - 1)) / columns) - Number(axisRoom);
  return {
    ...specification,
    columns,
    concat: specification.concat.map((panel) => ({ ...panel, width: wide })),
  };
}

/** Draw a chart at the width of its place, again after a resize; each time, call `ready`. */
async function draw(place, ready) {
  const text = document.querySelector(`script[data-for="${place.id}"]`).textContent;
  const { specification, data } = JSON.parse(text);
  specification.datasets = Object.fromEntries(
    Object.entries(data).map(([name, { columns, rows }]) => [
      name,
      rows.map((row) => Object.fromEntries(row.map((value, at) => [columns[at], value]))),
    ]),
  );
  let drawn = 0;
  async function redraw() {
    const width = place.clientWidth;
    if (!width || width === drawn) return;
    drawn = width;
    const fitting = laidOut(specification, width, place.dataset);
    views.get(place.id)?.finalize();
    const { view } = await vegaEmbed(place, fitting, {
      actions: false,
      renderer: "svg",
      tooltip: { disableDefaultStyle: true },
    });
    views.set(place.id, view);
    await ready?.(view, specification);
    place.dataset.drawn = width;
  }
  let waiting;
  new ResizeObserver(() => {
    clearTimeout(waiting);
    waiting = setTimeout(redraw, drawn ? 150 : 0);
  }).observe(place);
}

/** Write a value as its panel does: ".2%" and ".1%" are shares, ".3g" and ".1f" numbers. */
function written(value, digits) {
  if (value === null) return "–";
  const count = Number(digits[1]);
  if (digits.endsWith("%")) return `${(100 * value).toFixed(count)} %`;
  return digits.endsWith("g") ? Number(value.toPrecision(count)).toString() : value.toFixed(count);
}

/** Connect a dataset's buttons, its list of networks and its panels. */
function link(section) {
  const place = section.querySelector(".chart");
  const select = section.querySelector("select");
  const readout = section.querySelector(".readout");
  const buttons = [...section.querySelectorAll("button[data-rate]")];
  const quantities = JSON.parse(section.dataset.quantities);
  const now = { network: null, epoch: null, kept: false };
  let rows = [];
  let losses = [];
  let levels = [];

  function tell() {
    readout.hidden = now.network === null;
    readout.replaceChildren();
    if (readout.hidden) return;
    const own = rows.filter((row) => row.network === now.network);
    const row = own.find((each) => each.epoch === now.epoch) ?? own.at(-1);
    const loss = losses.find((each) => each.network === now.network);
    const end = loss ? `lost in epoch ${loss.epoch}, at step ${loss.step} (${loss.how})` : "not lost";
    const values = quantities.map(({ column, label, digits }) => [label, written(row[column], digits)]);
    const bound = levels.find((each) => each.rate === row.rate).level;
    values.push(["2 / rate", written(bound, ".3g")]);
    const list = document.createElement("dl");
    for (const [label, value] of [[now.network, end], ["epoch", row.epoch], ...values]) {
      const pair = list.appendChild(document.createElement("div"));
      pair.appendChild(document.createElement("dt")).textContent = label;
      pair.appendChild(document.createElement("dd")).textContent = value;
    }
    readout.append(list);
  }

  function show() {
    const chosen = buttons.filter((button) => button.ariaPressed === "true");
    section.classList.toggle("some", chosen.length > 0);
    const rates = (chosen.length ? chosen : buttons).map((button) => button.dataset.rate);
    tell();
    return views.get(place.id)
      ?.signal("rates", rates).signal("network", now.network).signal("epoch", now.epoch).runAsync();
  }

  function point(network, epoch, kept) {
    Object.assign(now, { network, epoch, kept });
    select.value = kept ? network ?? "" : "";
    show();
  }

  for (const button of buttons) {
    button.addEventListener("click", () => {
      button.ariaPressed = button.ariaPressed === "true" ? "false" : "true";
      show();
    });
  }
  select.addEventListener("change", () => point(select.value || null, null, Boolean(select.value)));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") point(null, null, false);
  });
  place.addEventListener("pointerleave", () => {
    if (!now.kept) point(null, null, false);
  });

  draw(place, (view, specification) => {
    ({ epochs: rows, losses, levels } = specification.datasets);
    // The item nearest to the pointer holds a mark, which holds the row; others hold the row.
    const under = (item) => item?.datum?.datum ?? item?.datum;
    view.addEventListener("pointerover", (_, item) => {
      const row = under(item);
      if (row?.network && !now.kept) point(row.network, row.at === undefined ? row.epoch : null, false);
    });
    view.addEventListener("click", (_, item) => {
      const row = under(item);
      if (!row?.network) return;
      const again = now.kept && now.network === row.network;
      point(row.network, row.at === undefined ? row.epoch : null, !again);
    });
    return show();
  });
}

for (const section of document.querySelectorAll(".linked")) link(section);
for (const place of document.querySelectorAll(".chart")) {
  if (!place.closest(".linked")) draw(place);
}
