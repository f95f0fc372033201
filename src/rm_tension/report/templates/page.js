/* Sorting, filtering, the switch and the explorer. Without this script the page shows everything, in the paper's order. */
(() => {
  "use strict";
  const DASH = "–";
  const NAMES = { ours: "ours", published: "published", difference: "difference" };
  const NEXT = { none: "ascending", ascending: "descending", descending: "none" };
  const controls = document.getElementById("controls");
  const status = document.getElementById("status");
  const isBeside = (element) => element.matches(".paper, .difference");

  /* The printed columns: the header cell, the one above that spans it (or itself), the place in a row. */
  function columnsOf(table) {
    const [top, below] = table.tHead.rows;
    const lower = below ? [...below.cells] : [];
    const columns = [];
    for (const group of top.cells) {
      const span = group.colSpan;
      for (const head of span > 1 ? lower.splice(0, span) : [group]) {
        columns.push({ head, group, span, index: columns.length, beside: isBeside(head) });
      }
    }
    return columns;
  }

  /* The rows of a section, each with the lines below that belong to it. */
  function blocksOf(body) {
    const blocks = [];
    for (const row of body.rows) {
      if (row.matches(".section")) continue;
      if (isBeside(row)) blocks.at(-1).push(row);
      else blocks.push([row]);
    }
    return blocks;
  }

  function addButton(head) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    return button;
  }

  function read(element) {
    const columns = columnsOf(element);
    const bodies = [...element.tBodies].map((body) => ({ body, blocks: blocksOf(body) }));
    for (const rows of bodies.flatMap(({ blocks }) => blocks)) keepShown(rows, columns);
    const table = { element, columns, bodies, sorting: null, nothing: element.closest("section").querySelector(".nothing") };
    for (const column of columns) {
      if (!column.head.textContent.trim()) continue;
      column.button = addButton(column.head);
      column.button.addEventListener("click", () => turn(table, column));
    }
    return table;
  }

  /* What the switch writes into each of our cells: copies of what stands there, below it, or beside it. */
  function keepShown(rows, columns) {
    const below = (kind) => rows.find((row) => row.matches(kind))?.cells;
    columns.forEach(({ span, beside }, index) => {
      const cell = rows[0].cells[index];
      if (!cell.matches("td.ours") || beside) return;
      const [published, difference] = span > 1
        ? [rows[0].cells[index + 1], rows[0].cells[index + 2]]
        : [below(".paper")?.[index], below(".difference")?.[index]];
      cell.shown = { ours: cell.cloneNode(true), published, difference };
    });
  }

  function turn(table, column) {
    const order = NEXT[column.head.getAttribute("aria-sort") ?? "none"];
    table.columns.forEach(({ head }) => head.removeAttribute("aria-sort"));
    table.sorting = order === "none" ? null : { index: column.index, sign: order === "ascending" ? 1 : -1 };
    if (table.sorting) column.head.setAttribute("aria-sort", order);
    sort(table);
    const name = column.span > 1 ? `${column.group.textContent}, ${column.head.textContent}` : column.head.textContent;
    status.textContent = table.sorting ? `Sorted by ${name}, ${order}.` : "In the original order.";
  }

  function sort({ bodies, sorting }) {
    for (const { body, blocks } of bodies) {
      body.append(...(sorting ? sorted(blocks, sorting) : blocks).flat());
    }
  }

  /* By number if all are numbers; what is missing comes last either way. */
  function sorted(blocks, { index, sign }) {
    const keyed = blocks.map((rows) => ({ rows, text: rows[0].cells[index].textContent.trim() }));
    const known = keyed.filter(({ text }) => text && text !== DASH);
    const missing = keyed.filter((entry) => !known.includes(entry));
    const numeric = known.every(({ text }) => !Number.isNaN(Number.parseFloat(text)));
    const compare = numeric
      ? (a, b) => Number.parseFloat(a) - Number.parseFloat(b)
      : (a, b) => a.localeCompare(b, "en", { numeric: true });
    known.sort((a, b) => sign * compare(a.text, b.text));
    return [...known, ...missing].map(({ rows }) => rows);
  }

  /* Whether a row or column is of what was chosen; one that has no such axis always is. */
  const fitting = (chosen) => (element) =>
    Object.entries(chosen).every(([axis, value]) => (element.dataset[axis] ?? value) === value);

  /* Returns whether anything of the table is left. */
  function show({ element, columns, bodies, nothing }, shows, chosen) {
    const fits = fitting(chosen);
    const alone = shows !== "beside";
    element.dataset.shows = shows;
    for (const column of columns) {
      column.visible = fits(column.group) && !(alone && column.beside);
      column.head.hidden = !column.visible;
      column.group.hidden = !fits(column.group);
      column.group.colSpan = alone ? 1 : column.span;
      if (column.span > 1 && !column.beside) column.button.textContent = NAMES[alone ? shows : "ours"];
    }
    if (columns.every(({ span }) => span === 1)) columns[0].head.textContent = alone ? NAMES[shows] : "";
    for (const { body, blocks } of bodies) {
      for (const rows of blocks) showBlock(rows, columns, shows, fits(rows[0]));
      body.hidden = blocks.every(([row]) => row.hidden);
      const label = body.querySelector(".section th");
      if (label) label.colSpan = columns.filter(({ visible }) => visible).length;
    }
    const some = columns.slice(1).some(({ visible }) => visible) && bodies.some(({ body }) => !body.hidden);
    nothing.hidden = some;
    element.parentElement.hidden = !some;
    return some;
  }

  function showBlock(rows, columns, shows, fits) {
    for (const row of rows) {
      row.hidden = !fits || (shows !== "beside" && isBeside(row));
      for (const { index, visible } of columns) row.cells[index].hidden = !visible;
    }
    for (const cell of rows[0].cells) if (cell.shown) write(cell, shows);
  }

  function write(cell, shows) {
    const source = cell.shown[shows === "beside" ? "ours" : shows];
    cell.replaceChildren(...(source ? source.cloneNode(true).childNodes : [DASH]));
    cell.classList.toggle("beyond", Boolean(source?.matches(".beyond")));
  }

  function update() {
    const { show: shows, ...all } = Object.fromEntries(new FormData(controls));
    const chosen = Object.fromEntries(Object.entries(all).filter(([, value]) => value));
    const left = numbers.filter((table) => show(table, shows, chosen));
    left.filter(({ sorting }) => sorting).forEach(sort);
    const names = Object.keys(chosen).map((axis) => controls.elements[axis].selectedOptions[0].dataset.name);
    const what = shows === "beside" ? "ours beside published" : NAMES[shows];
    const where = names.length ? `, only ${names.join(", ")}` : "";
    status.textContent = `Showing ${what}${where}: ${left.length} of ${numbers.length} tables of numbers.`;
  }

  /* The explorer: rewards of the trio that is chosen, and the items that are asked for. */
  function explore(form) {
    const rewards = JSON.parse(document.getElementById("rewards").textContent);
    const items = [...document.querySelectorAll(".item")];
    const sign = ([chosen, rejected]) => (chosen > rejected ? "✓" : "✗");
    const outcome = (numbers) => (numbers.length ? sign(numbers) + sign(numbers.slice(2)) : DASH);
    const signed = (number) => (number < 0 ? "" : "+") + number.toFixed(2);
    const wanted = {
      all: () => true,
      disagree: (outcomes) => new Set(outcomes.map((signs) => signs[0])).size > 1,
      turn: (outcomes) => outcomes.some((signs) => signs[0] !== signs[1]),
    };

    function showItem(item, ofRMs) {
      item.querySelectorAll(".marks b").forEach((mark, rm) => { mark.textContent = outcome(ofRMs[rm]); });
      for (const body of item.querySelectorAll("tbody")) {
        const numbers = ofRMs[body.dataset.rm];
        numbers.forEach((number, index) => body.style.setProperty(`--${"abcd"[index]}`, number));
        body.querySelectorAll("td:not(.axis)").forEach((cell, index) => { cell.textContent = signed(numbers[index]); });
      }
    }

    function showItems() {
      const { trio, which } = Object.fromEntries(new FormData(form));
      items.forEach((item, index) => {
        const ofRMs = rewards[trio][index];
        showItem(item, ofRMs);
        item.hidden = !wanted[which](ofRMs.filter(({ length }) => length).map(outcome));
      });
      form.querySelector("[role=status]").textContent = `${items.filter(({ hidden }) => !hidden).length} of ${items.length} items`;
    }

    form.hidden = false;
    form.addEventListener("change", showItems);
    showItems();
  }

  // the contents are open beside the page, and closed above it where that is narrow
  if (matchMedia("(max-width: 75rem)").matches) document.querySelector("nav details").open = false;
  const tables = [...document.querySelectorAll(".scroll > table")].map(read);
  const numbers = tables.filter(({ nothing }) => nothing);
  controls.hidden = false;
  controls.addEventListener("change", update);
  controls.addEventListener("reset", () => setTimeout(update));
  update();
  const form = document.getElementById("explore");
  if (form) explore(form);
})();
