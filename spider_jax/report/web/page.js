"use strict";
// Tables can be sorted by a click on a heading and filtered by words or bounds; without this
// script they are plain tables.
(() => {
  const units = { k: 1e3, m: 1e6, g: 1e9, t: 1e12 };
  const compare = {
    "<=": (a, b) => a <= b, ">=": (a, b) => a >= b, "!=": (a, b) => a !== b,
    "<": (a, b) => a < b, ">": (a, b) => a > b, "=": (a, b) => a === b,
  };

  function numberOf(text) {
    const found = /^([-+]?[\d.]+(?:e[-+]?\d+)?)\s*([kmgt]?)%?$/i.exec(text.replace(/[,_]/g, "").replace("\u2212", "-"));
    return found ? Number(found[1]) * (units[found[2].toLowerCase()] || 1) : NaN;
  }

  function condition(term, names) {
    const found = /^(.*?)(<=|>=|!=|<|>|=)(.*)$/.exec(term);
    const column = found ? names.indexOf(found[1].trim().toLowerCase()) : -1;
    if (column < 0) return row => row.words.includes(term.toLowerCase());
    const wanted = found[3].trim(), bound = numberOf(wanted), holds = compare[found[2]];
    return row => {
      const cell = row.cells[column];
      if (cell.value !== null && !Number.isNaN(bound)) return holds(cell.value, bound);
      if (found[2] === "=") return cell.text.toLowerCase() === wanted.toLowerCase();
      if (found[2] === "!=") return cell.text.toLowerCase() !== wanted.toLowerCase();
      return false;
    };
  }

  function read(row, place) {
    const cells = [...row.cells].map(cell => ({
      text: cell.textContent, value: cell.dataset.v === undefined ? null : Number(cell.dataset.v),
    }));
    return { row, place, cells, words: cells.map(c => c.text).join("\n").toLowerCase() };
  }

  function order(a, b, column, sign) {
    const x = a.cells[column], y = b.cells[column];
    const known = c => c.value !== null || c.text !== "\u2013";
    if (known(x) !== known(y)) return known(x) ? -1 : 1;
    const by = x.value !== null && y.value !== null ? x.value - y.value : x.text.localeCompare(y.text, "en", { numeric: true });
    return sign * by || a.place - b.place;
  }

  function sortable(table, rows) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const numeric = head.classList.contains("n");
        const now = head.getAttribute("aria-sort");
        const first = numeric && column > 0 ? "descending" : "ascending";
        const other = first === "ascending" ? "descending" : "ascending";
        const next = now === first ? other : first;
        heads.forEach(h => h.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", next);
        rows.sort((a, b) => order(a, b, column, next === "ascending" ? 1 : -1));
        rows.forEach(r => r.row.classList.remove("break"));
        table.tBodies[0].append(...rows.map(r => r.row));
      });
    });
  }

  function filterable(grid, table, rows, number) {
    const names = [...table.tHead.rows[0].cells].map(h => h.textContent.trim().toLowerCase());
    const bar = document.createElement("div"), label = document.createElement("label");
    const input = document.createElement("input"), count = document.createElement("output");
    const numeric = [...table.tHead.rows[0].cells].findIndex((h, i) => i > 0 && h.classList.contains("n"));
    bar.className = "filter";
    input.id = `f${number}`;
    input.type = "search";
    input.placeholder = numeric < 0 ? "words" : `words, or ${names[numeric]} >= 0.5`;
    input.autocomplete = "off";
    input.spellcheck = false;
    label.htmlFor = input.id;
    label.textContent = "Filter";
    label.title = "Words that a row holds, or bounds of columns, joined by \u201cand\u201d";
    count.setAttribute("aria-live", "polite");
    bar.append(label, input, count);
    grid.querySelector(".scroll").before(bar);
    input.addEventListener("input", () => {
      const terms = input.value.split(/\s+and\s+|;/i).map(t => t.trim()).filter(Boolean);
      const holds = terms.map(t => condition(t, names));
      let left = 0;
      for (const r of rows) {
        const keep = holds.every(h => h(r));
        r.row.hidden = !keep;
        left += keep;
      }
      count.textContent = terms.length ? `${left} of ${rows.length} rows` : "";
    });
  }

  document.querySelectorAll("[data-tools]").forEach((grid, number) => {
    const table = grid.querySelector("table");
    const rows = [...table.tBodies[0].rows].map(read);
    if (rows.length < 2) return;
    if (rows.length > 5) filterable(grid, table, rows, number);
    sortable(table, rows);
  });
})();
