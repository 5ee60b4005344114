"use strict";

const form = document.querySelector("form.filters");
const tables = [...document.querySelectorAll(".board table")];
const say = text => { document.getElementById("said").textContent = text; };

// Sorting: a click goes to the column's natural direction, to the other, and back to the order of the report.
for (const table of tables) {
  const body = table.tBodies[0];
  const asReported = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const numeric = head.classList.contains("number");
    const directions = numeric ? ["descending", "ascending"] : ["ascending", "descending"];
    const direction = directions[directions.indexOf(head.getAttribute("aria-sort")) + 1];
    for (const other of heads) other.removeAttribute("aria-sort");
    if (direction) head.setAttribute("aria-sort", direction);
    body.append(...(direction ? sorted(asReported, column, numeric, direction) : asReported));
    say(`${title(table)}: ${direction ? `sorted by ${label(head)}, ${direction}` : "in the order of the report"}`);
  }));
}

function sorted(rows, column, numeric, direction) {
  const value = ({ cells: { [column]: cell } }) =>
    cell.classList.contains("nothing") ? "" : cell.dataset.value ?? cell.querySelector(".text").textContent;
  const sign = direction === "ascending" ? 1 : -1;
  return [...rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === "" || y === "") return (x === "") - (y === "");  // nothing goes last, whichever way
    return sign * (numeric ? x - y : x.localeCompare(y));
  });
}

function title(table) { return table.caption.textContent.trim(); }

function label(head) { return head.textContent.trim().replaceAll("\u00a0", " "); }

// Filtering: all rows that belong to one model, or to one kind of vectors, wherever they stand.
function filter() {
  const chosen = [...form.querySelectorAll("select")].filter(select => select.value);
  const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [...document.querySelectorAll("tr[data-filtered]")];
  for (const row of rows) {
    const names = Object.values(row.dataset).join(" ").toLowerCase();
    row.hidden = !(chosen.every(select => row.dataset[select.name] === select.value)
      && words.every(word => names.includes(word)));
  }
  for (const table of tables) {
    const rows = [...table.tBodies[0].rows];
    table.closest(".board").hidden = rows.every(row => row.hidden);
  }
  const counted = [...document.querySelectorAll("#leaderboard tr[data-filtered]")];
  const left = counted.filter(row => !row.hidden).length;
  form.querySelector("output").textContent = chosen.length || words.length ? `${left} of ${counted.length} rows` : "";
}
form?.addEventListener("input", filter);
form?.addEventListener("reset", () => setTimeout(filter));  // the fields are empty only after the event
form?.addEventListener("submit", event => event.preventDefault());

// Copying: the rows and columns that are shown, in their order.
function shown(table) {
  const heads = [...table.tHead.rows[0].cells];
  const all = document.getElementById("all-metrics")?.checked;
  const columns = heads.map((_, column) => column)
    .filter(column => heads[column].dataset.name && (all || !heads[column].classList.contains("extra")));
  const rows = [...table.tBodies[0].rows].filter(row => !row.hidden);
  return {
    title: title(table),
    columns: columns.map(column => ({
      title: label(heads[column]),
      name: heads[column].dataset.name,
      numeric: heads[column].classList.contains("number"),
      ends: heads[column].classList.contains("change") ? ["low", "high"]
        : rows.some(row => row.cells[column].querySelector(".spread")) ? ["std"] : [],
    })),
    rows: rows.map(row => columns.map(column => ({
      text: row.cells[column].querySelector(".text").textContent,
      spread: row.cells[column].querySelector(".spread")?.textContent ?? "",
      place: row.cells[column].dataset.place,
    }))),
  };
}

const whole = cell => `${cell.text} ${cell.spread}`.trim();

function markdown({ title, columns, rows }) {
  const escape = text => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/[\\|*_`[]/g, "\\$&");
  const mark = { 1: text => `**${text}**`, 2: text => `<u>${text}</u>` };
  const line = texts => `| ${texts.join(" | ")} |`;
  return [
    `**${escape(title)}**`,
    "",
    line(columns.map(column => escape(column.title))),
    line(columns.map(column => (column.numeric ? "---:" : "---"))),
    ...rows.map(row => line(row.map(cell => (mark[cell.place] ?? String)(escape(whole(cell)))))),
  ].join("\n") + "\n";
}

function nameOfEnd(name, end) {
  return end === "std" ? `${name}_std` : name.replace("_improvement_%", `_${end}_%`);
}

// Columns are named as in leaderboard.csv; numbers are as shown, but as a program reads them.
function csv({ columns, rows }) {
  const quote = text => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const number = text => text.replace(/^–$/, "").replace("−", "-").replace(/[+,±%\s[\]]/g, "");
  const line = texts => texts.map(quote).join(",");
  return [
    line(columns.flatMap(({ name, ends }) => [name, ...ends.map(end => nameOfEnd(name, end))])),
    ...rows.map(row => line(row.flatMap((cell, i) => {
      if (!columns[i].numeric) return [cell.text];
      const spread = cell.spread.split(columns[i].ends.length > 1 ? ", " : null);
      return [number(cell.text), ...columns[i].ends.map((_, end) => number(spread[end] ?? ""))];
    }))),
  ].join("\n") + "\n";
}

function latex({ title, columns, rows }) {
  const symbols = {
    "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "$<$", ">": "$>$",
    "±": "$\\pm$", "−": "$-$", "–": "--", "▲": "$\\blacktriangle$", "▼": "$\\blacktriangledown$",
    "○": "$\\circ$",
  };
  const escape = text => [...text].map(c => symbols[c] ?? ("&%$#_{}".includes(c) ? `\\${c}` : c)).join("");
  const mark = { 1: text => `\\textbf{${text}}`, 2: text => `\\underline{${text}}` };
  const line = texts => `${texts.join(" & ")} \\\\`;
  return [
    "% needs \\usepackage{booktabs} and \\usepackage{amssymb}",
    "\\begin{table}",
    `\\caption{${escape(title)}}`,
    `\\begin{tabular}{${columns.map(column => (column.numeric ? "r" : "l")).join("")}}`,
    "\\toprule",
    line(columns.map(column => escape(column.title))),
    "\\midrule",
    ...rows.map(row => line(row.map(cell => (mark[cell.place] ?? String)(escape(whole(cell)))))),
    "\\bottomrule",
    "\\end{tabular}",
    "\\end{table}",
  ].join("\n") + "\n";
}

const formats = { markdown, csv, latex };

for (const button of document.querySelectorAll("[data-format]")) {
  button.addEventListener("click", () => {
    const content = shown(document.getElementById(button.dataset.table));
    const rows = `${content.rows.length} row${content.rows.length === 1 ? "" : "s"}`;
    copy(formats[button.dataset.format](content), button, `${content.title}: ${rows} as ${button.textContent}`);
  });
}
for (const button of document.querySelectorAll("[data-text]")) {
  button.addEventListener("click", () => {
    copy(document.getElementById(button.dataset.text).textContent, button, "The command");
  });
}

async function copy(text, button, what) {
  if (!(await toClipboard(text))) {
    byHand(text);
    return;
  }
  button.focus();
  button.classList.add("done");
  setTimeout(() => button.classList.remove("done"), 2000);
  say(`Copied. ${what}.`);
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);  // absent on file: in some browsers, forbidden in others
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.className = "hidden";
    area.readOnly = true;
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

function byHand(text) {
  const dialog = document.querySelector("dialog");
  const area = dialog.querySelector("textarea");
  area.value = text;
  dialog.showModal();
  area.select();
}
