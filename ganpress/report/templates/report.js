// Click a heading: best first, then worst first, then the order of the chain again.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], original = [...body.rows];
  const value = (row, index) => row.cells[index].dataset.value;
  for (const button of table.querySelectorAll("thead button")) {
    const heading = button.closest("th"), index = heading.cellIndex;
    button.addEventListener("click", () => {
      const first = heading.dataset.first, second = first === "ascending" ? "descending" : "ascending";
      const now = heading.getAttribute("aria-sort");
      const next = now === first ? second : now === second ? null : first;
      for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
      if (!next) { body.replaceChildren(...original); return; }
      heading.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      const rows = original.filter((row) => !row.classList.contains("group"));
      rows.sort((a, b) => {
        const x = value(a, index), y = value(b, index);
        if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
        return sign * (Number(x) - Number(y));
      });
      body.replaceChildren(...rows);
    });
  }
}
