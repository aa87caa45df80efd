// Search, filter and sort of the table of clips. Without it the page shows all rows in their first order.
(() => {
  const AT_ONCE = 10;
  const table = document.querySelector("table.clips");
  if (!table) return;
  const body = table.tBodies[0];
  const first = [...body.rows];
  const [tools, search, only, again, count, more] =
    ["tools", "search", "only", "again", "count", "more"].map((id) => document.getElementById(id));
  const texts = new Map(first.map((row) => [row, row.querySelector("dl").textContent.toLowerCase() + row.dataset.id.toLowerCase()]));
  let shown = AT_ONCE;

  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const row of body.rows) {
      const kinds = ["all", row.dataset.kind, Number(row.dataset.score) < 50 ? "low" : "high"];
      const fits = kinds.includes(only.value) && words.every((word) => texts.get(row).includes(word));
      found += fits;
      row.hidden = !fits || found > shown;
    }
    count.value = `${Math.min(found, shown)} shown of ${found}`;
    more.hidden = found <= shown;
  };
  const order = (rows, header, direction) => {
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    if (header) header.setAttribute("aria-sort", direction);
    body.append(...rows);
    apply();
  };
  const restart = () => { shown = AT_ONCE; apply(); };

  for (const button of table.tHead.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      const header = button.parentElement, key = button.dataset.key;
      const direction = header.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      const sign = direction === "ascending" ? 1 : -1;
      const compare = key === "id"
        ? (a, b) => a.dataset.id.localeCompare(b.dataset.id, undefined, { numeric: true })
        : (a, b) => Number(a.dataset[key]) - Number(b.dataset[key]);
      order([...first].sort((a, b) => sign * compare(a, b)), header, direction);
    });
  }
  search.addEventListener("input", restart);
  only.addEventListener("change", restart);
  again.addEventListener("click", () => order(first, null));
  more.addEventListener("click", () => { shown *= 4; apply(); });
  tools.hidden = false;
  apply();
})();
